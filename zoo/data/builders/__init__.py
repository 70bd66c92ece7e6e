"""The data sets of the project as TFDS builders, and what draws their pictures."""
