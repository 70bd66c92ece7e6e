"""Backbones with weights, data sets, and fine-tuning."""
