"""Giving models away: zoo folders, and exports to other programs."""
