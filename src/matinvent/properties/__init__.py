"""What can be computed of a crystal: evaluators, their registry, and the service that runs them."""
