"""Seeds that are functions of the search's seed and of what is run."""

import zlib

import numpy as np


def run_seed(seed, trial_id, execution, fold=None):
    """The seed of one training.

    Args:
        seed: Of the search.
        trial_id: String.
        execution: Integer.
        fold: Integer, or None.

    Example:

    >>> run_seed(0, "07", execution=1)
    217081409
    """
    trial = zlib.crc32(str(trial_id).encode())
    entropy = [seed, trial, execution, 0 if fold is None else fold + 1]
    return int(np.random.SeedSequence(entropy).generate_state(1)[0]) >> 1
