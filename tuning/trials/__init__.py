"""Runs one trial: its trainings, seeds, folds, callbacks, score and record."""
