"""One reader for each kind of source: folders, CSV files, TFDS, NPZ files."""
