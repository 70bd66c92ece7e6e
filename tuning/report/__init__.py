"""Reports of a search, from its project folder: a page, and logs for TensorBoard."""
