"""Compares the images of a test set with those of the training set."""
