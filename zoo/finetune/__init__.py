"""Fine-tuning: a backbone and arrays in, a `FineTuned` out. README.md has the order."""
