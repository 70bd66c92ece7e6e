"""Seeds of trainings, derived from the seed of the search."""

import zlib

import numpy as np


def run_seed(seed: int, trial_id: str, execution: int, fold: int | None = None) -> int:
    """Returns the seed of one training.

    Args:
        seed: Integer, the seed of the search.
        trial_id: String, the id of the trial.
        execution: Integer, the number of the training among those of the trial.
        fold: Integer, the fold that is left out, or `None`.

    Returns:
        Integer from 0 to 2**31 - 1.

    Example:

    >>> run_seed(0, "07", execution=1)
    217081409
    """
    trial = zlib.crc32(str(trial_id).encode())
    entropy = [seed, trial, execution, 0 if fold is None else fold + 1]
    return int(np.random.SeedSequence(entropy).generate_state(1)[0]) >> 1
