"""The data sets of the project as TFDS builders, and the drawing of their images."""
