"""Models that predict a property of a crystal from labels: what they see, how they are trained, kept and asked."""
