"""One backend a run: `KERAS_BACKEND=jax pytest tests/recipes`."""

import os

import pytest

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# TensorFlow has kernels for channels-first pictures on a CPU in oneDNN alone, which it
# turns on by itself on some processors and not on others.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")
# JAX spends most of these tests compiling; what it compiles runs once.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")


@pytest.fixture(scope="session")
def three_digits():
    """A task that trains in seconds: three digits over photographs.

    `make(validation=False)` gives the data set.
    """
    import numpy as np

    from hornbook.zoo.data.arrays.few_labels import draw_few
    from hornbook.zoo.data.builders.hornbook_digits import POOL
    from hornbook.zoo.data.builders.hornbook_photo_digits import photo_digits
    from hornbook.zoo.data.dataset import Dataset, Examples

    images, labels = photo_digits()

    def examples(places):
        names = tuple(f"picture[{place}]" for place in places)
        return Examples(images[places], labels[places], names)

    def make(validation=False):
        few = draw_few(labels[:POOL], 6, seed=0)
        few = few[labels[few] < 3]
        test = POOL + np.flatnonzero(labels[POOL:] < 3)[:60]
        return Dataset(
            name="three digits",
            classes=("zero", "one", "two"),
            train=examples(few),
            validation=examples(test[:20]) if validation else None,
            test=examples(test),
            notices=("A notice.",),
        )

    return make
