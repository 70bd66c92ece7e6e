"""What `hornbook tune` does: its settings, data, search, and what it leaves behind."""
