"""The only place where a property becomes a reward."""
