"""Runs of `hornbook tune`: settings, data, the folder, the best model, the report."""
