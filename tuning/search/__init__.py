"""The tuners: what is tried next, and when a search ends."""
