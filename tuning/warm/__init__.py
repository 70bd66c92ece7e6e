"""Warm trials: trials that differ in numbers alone share one compiled step."""
