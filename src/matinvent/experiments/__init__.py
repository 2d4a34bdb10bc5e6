"""The paper's experiments: sets of campaigns over seeds, and what they show."""
