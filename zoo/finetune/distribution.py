"""One model on several devices, of one machine or more: each takes part of a batch."""

import contextlib
from collections.abc import Iterator

import keras

from hornbook.compat import set_path
from hornbook.errors import InputError
from hornbook.zoo.finetune import processes


@contextlib.contextmanager
def on_devices(model: keras.Model, names: list[str]) -> Iterator[keras.Model]:
    """Yields the model to compile and fit, whose variables then come back.

    TensorFlow shares a batch by `tf.distribute.MirroredStrategy`, JAX by
    `keras.distribution`, there also between processes.

    Args:
        model: A built `keras.Model`.
        names: Of the devices, as `find_devices` gives them; for fewer than two the
            model itself is yielded.
    """
    if len(names) < 2:
        yield model
        return
    with _engine(names):
        twin = keras.models.clone_model(model)
        if keras.backend.backend() == "jax":
            twin = _Shared(twin.inputs, twin.outputs)
        for old, new in zip(model.variables, twin.variables, strict=True):
            # A clone leaves the names of Sequential models out of paths, by which
            # multipliers, moments and saved states are found.
            set_path(new, old.path)
        copy_weights(model, twin)
        yield twin
    copy_weights(twin, model)


def find_devices(count: int, batch_size: int | None = None) -> list[str]:
    """The names of the devices to use; none if one is enough.

    Args:
        count: How many of each process.
        batch_size: Of all together, if it is the same for all batches.

    Raises:
        InputError: if there are fewer, the backend can't share a batch, or the batch
            can't be shared alike.
    """
    if count == processes.count() == 1:
        return []
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        kinds = (tf.config.list_logical_devices(kind) for kind in ("GPU", "CPU"))
        found = [[device.name for device in next(filter(None, kinds))]]
    elif backend == "jax":
        import jax

        found = [[] for _ in range(processes.count())]
        names = keras.distribution.list_devices()
        for name, device in zip(names, jax.devices(), strict=True):
            found[device.process_index].append(name)
    else:
        raise InputError(
            f"Several devices need TensorFlow or JAX as Keras's backend, not "
            f"{backend}. Received: devices={count}"
        )
    for number, names in enumerate(found):
        if len(names) < count:
            where = f" in process {number}" if len(found) > 1 else ""
            raise InputError(
                f"There {'is' if len(names) == 1 else 'are'} {len(names)}{where}: "
                f"{', '.join(names)}. Received: devices={count}"
            )
    names = [name for names in found for name in names[:count]]
    if backend == "jax" and batch_size is not None and batch_size % len(names):
        raise InputError(
            f"batch_size must be a multiple of {len(names)}, the number of devices "
            f"that share a batch, or some idle in each step. Received: "
            f"batch_size={batch_size}"
        )
    return names


def copy_weights(model: keras.Model, other: keras.Model) -> None:
    """Gives another model the variables, so that dropout draws the same there too."""
    for old, new in zip(model.variables, other.variables, strict=True):
        new.assign(keras.ops.convert_to_numpy(old))


@contextlib.contextmanager
def _engine(names):
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        with tf.distribute.MirroredStrategy(names).scope():
            yield
        return
    with _Whole(devices=names, auto_shard_dataset=False).scope():
        yield


class _Whole(keras.distribution.DataParallel):
    """Gives each device the whole batch, of which `_Shared` computes a part on each.

    Cut before the step, it would have to be a multiple of the devices, which the last
    one of a pass is not: Keras lays out all batches as the first. Within the step XLA
    cuts any batch, and loss, metrics and BatchNormalization are those of one device.
    Padding would change all three, whatever weight the padding has.
    """

    def get_data_layout(self, data_shape):
        return keras.distribution.TensorLayout(
            [None] * len(data_shape), self.device_mesh
        )


class _Shared(keras.Model):
    """A model whose steps share out the rows of a batch over the devices."""

    def train_step(self, state, data):
        return super().train_step(state, _share_out(data))

    def test_step(self, state, data):
        return super().test_step(state, _share_out(data))


def _share_out(data):
    distribution = keras.distribution.distribution()
    layout = keras.distribution.TensorLayout(
        [distribution.batch_dim_name], distribution.device_mesh
    )
    return keras.tree.map_structure(
        lambda part: keras.distribution.distribute_tensor(part, layout),
        data,
        none_is_leaf=False,
    )
