"""Sharing models: zoo folders, and exports to other programs."""
