"""What `hornbook tune` does: settings, data, search, and the best model."""
