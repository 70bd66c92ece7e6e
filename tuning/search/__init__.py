"""The searches: what is tried next, and when a search ends."""
