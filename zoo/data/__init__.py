"""Data sets: three TFDS builders of ours, and readers for folders, files and TFDS.

Importing the module of a builder registers it, so that `tfds.load` knows its name.
"""
