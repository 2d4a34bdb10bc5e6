"""What a campaign tells people and files: events, console, metric sinks, summary."""
