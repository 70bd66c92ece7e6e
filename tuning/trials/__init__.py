"""One trial: seeds, folds, checkpoints, pruning, score."""
