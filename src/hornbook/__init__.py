"""Recipes, a model zoo and a tuner for Keras.

Importing this package imports nothing heavy. `hornbook.recipes` registers every
recipe with Keras, so that a `.keras` file which uses one opens.
"""

__version__ = "0.1.0"
