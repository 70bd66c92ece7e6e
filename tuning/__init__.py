"""Searching for hyperparameters with keras-tuner."""
