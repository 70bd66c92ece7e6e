<<<<<<< HEAD
"""What `hornbook tune` does: settings, data, search, and the best model."""
=======
"""Runs of `hornbook tune`: settings, data, the folder, the best model, the report."""
>>>>>>> h-tuning
