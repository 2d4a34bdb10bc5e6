"""Public helpers for tests: a toy world with a known optimum, contract checks for plug-ins."""
