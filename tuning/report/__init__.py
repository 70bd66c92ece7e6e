"""What a search found: read from its folder, as a page, for TensorBoard."""
