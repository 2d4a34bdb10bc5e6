"""What a campaign remembers: every candidate, the best ones to learn again, how often it met a composition."""
