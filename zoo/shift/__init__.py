"""Whether a test set's pictures are like the training set's, told in words."""
