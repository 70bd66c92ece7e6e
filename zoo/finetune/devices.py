"""One model on several devices of one machine: each takes its part of a batch."""

import contextlib

import keras

from hornbook.zoo.errors import InputError


@contextlib.contextmanager
def on_devices(model, count):
    """Yields the model to compile and fit, whose weights then come back.

    TensorFlow shares a batch by `tf.distribute.MirroredStrategy`, JAX by
    `keras.distribution.DataParallel`.

    Args:
        model: A built `keras.Model`.
        count: How many devices; 1 yields the model itself.

    Raises:
        InputError: if there are fewer, or the backend can't.
    """
    if count == 1:
        yield model
        return
    with _engine(find_devices(count)):
        twin = keras.models.clone_model(model)
        twin.set_weights(model.get_weights())
        yield twin
    model.set_weights(twin.get_weights())


def find_devices(count):
    """The names of the devices to use; none if one is enough.

    Raises:
        InputError: if there are fewer, or the backend can't share a batch.
    """
    if count == 1:
        return []
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        kinds = (tf.config.list_logical_devices(kind) for kind in ("GPU", "CPU"))
        names = [device.name for device in next(filter(None, kinds))]
    elif backend == "jax":
        names = keras.distribution.list_devices()
    else:
        raise InputError(
            f"Several devices need TensorFlow or JAX as Keras's backend, not "
            f"{backend}. Received: devices={count}"
        )
    if len(names) < count:
        raise InputError(
            f"There {'is' if len(names) == 1 else 'are'} {len(names)}: "
            f"{', '.join(names)}. Received: devices={count}"
        )
    return names[:count]


@contextlib.contextmanager
def _engine(names):
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        with tf.distribute.MirroredStrategy(names).scope():
            yield
        return
    before = keras.distribution.distribution()
    keras.distribution.set_distribution(keras.distribution.DataParallel(devices=names))
    try:
        yield
    finally:
        keras.distribution.set_distribution(before)
