"""Fixed views, votes and ensembles at test time."""
