"""Running many independent tasks: executors, a runner that survives crashes and hangs, a result cache."""
