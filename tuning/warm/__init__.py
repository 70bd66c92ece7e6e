"""Warm trials: trials that differ only in floats share one compiled step.

What is promised, and when plain `fit` is used, stands in the README of this folder.
"""
