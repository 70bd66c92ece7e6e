"""Same seed, same weights."""

import keras


def make_deterministic(seed: int) -> None:
    """Same seed, same weights, bit for bit, on the same machine."""
    keras.utils.set_random_seed(seed)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()
