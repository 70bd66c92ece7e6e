"""Random views of an image while training."""
