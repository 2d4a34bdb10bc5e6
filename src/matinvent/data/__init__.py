"""Data files that come with the package; each has a card (.md) that says what it is made from."""
