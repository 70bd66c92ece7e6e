"""Data sets: three TFDS builders of ours, and readers for folders, files and TFDS.

Importing a builder's module registers it, so that `tfds.load` knows its name.
"""
