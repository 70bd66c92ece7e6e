"""Every recipe, one idea a file. Importing this registers them all with Keras."""
