"""`fit` for data in memory, a whole epoch at a time."""

import inspect
import math
from dataclasses import dataclass

import keras
import numpy as np
from keras import tree

from hornbook.batch_hooks import wants_batches
from hornbook.compat import epoch_of_backup
from hornbook.tuning.warm.compiled_model import NotWarm


@dataclass
class Fit:
    """Arguments of `keras.Model.fit`, seen through.

    Attributes:
        data: Arrays to train on, in the structure of a batch.
        order: Places of the examples to train on; None for all.
        validation: Arrays to validate on, or None.
        validation_order: As `order`.
        arguments: The other arguments of `fit`, by name, with their defaults.
    """

    data: object
    order: np.ndarray | None
    validation: object
    validation_order: np.ndarray | None
    arguments: dict

    @property
    def batch_size(self):
        """Examples in a batch."""
        return self.arguments["batch_size"] or 32

    @property
    def batch(self):
        """The first batch."""
        return tree.map_structure(lambda x: x[: self.batch_size], self.data)


def read_fit(args, kwargs):
    """Sees through the arguments of `fit`.

    Returns:
        A `Fit`.

    Raises:
        NotWarm: if epochs cannot be run as a whole: data that are not in memory, or a
            callback that wants to be called at each batch.
    """
    bound = inspect.signature(keras.Model.fit).bind(None, *args, **kwargs)
    bound.apply_defaults()
    rest = dict(bound.arguments)
    x, y, weight = (rest.pop(name) for name in ("x", "y", "sample_weight"))
    validation, split = rest.pop("validation_data"), rest.pop("validation_split")
    for name in ("steps_per_epoch", "validation_steps"):
        if rest[name] is not None:
            raise NotWarm(f"`{name}` is given")
    for callback in rest["callbacks"] or ():
        if wants_batches(callback):
            kind = type(callback).__name__
            raise NotWarm(f"the callback {kind} wants to be called at each batch")
    if rest["class_weight"] is not None:
        if weight is not None or tree.is_nested(y):
            raise NotWarm("`class_weight` goes with `sample_weight` or several outputs")
        weight = _weigh_classes(y, rest["class_weight"])
    data = _pack(x, y, weight)
    order = validation_order = None
    if validation is not None:
        validation = _pack(*keras.utils.unpack_x_y_sample_weight(validation))
    elif split:
        size = count(data)
        cut = math.floor(size * (1 - split))
        if not 0 < cut < size:
            raise NotWarm(f"`validation_split={split}` leaves nothing of one part")
        validation = data
        order, validation_order = np.arange(cut), np.arange(cut, size)
    return Fit(data, order, validation, validation_order, rest)


def count(data):
    """How many examples there are."""
    return len(tree.flatten(data)[0])


def _weigh_classes(y, class_weight):
    labels = keras.ops.convert_to_numpy(y)
    if labels.ndim > 1 and labels.shape[-1] != 1:
        labels = labels.argmax(axis=-1)
    labels = np.round(labels.reshape(-1)).astype(int)
    weights = [class_weight.get(label, 1.0) for label in labels.tolist()]
    return np.array(weights, keras.config.floatx())


def _pack(x, y=None, weight=None):
    data = keras.utils.pack_x_y_sample_weight(x, y, weight)
    leaves = tree.flatten(data)
    for leaf in leaves:
        is_array = isinstance(leaf, np.ndarray) and leaf.dtype.kind in "biuf"
        if isinstance(leaf, np.memmap) or not (is_array or keras.ops.is_tensor(leaf)):
            raise NotWarm(f"data of type {type(leaf).__name__} are not in memory")
    sizes = {len(leaf) for leaf in leaves}
    if len(sizes) != 1 or 0 in sizes:
        raise NotWarm(f"data have different numbers of examples: {sorted(sizes)}")
    return data


class Device:
    """Arrays on the device, each put there once."""

    def __init__(self):
        self.put_there = {}

    def put(self, data, put):
        """The tensors of a structure of arrays.

        Args:
            data: Nested arrays.
            put: Function that puts one there.
        """

        def one(array):
            # The array is kept, so that its id stays its own.
            if id(array) not in self.put_there:
                tensor = put(_as_keras_would(array))
                self.put_there[id(array)] = array, tensor
            return self.put_there[id(array)][1]

        return tree.map_structure(one, data)


def _as_keras_would(array):
    if keras.backend.is_float_dtype(keras.backend.standardize_dtype(array.dtype)):
        if isinstance(array, np.ndarray):
            return array.astype(keras.config.floatx())
        return keras.ops.cast(array, keras.config.floatx())
    return array


def epoch_order(places, shuffle, seed, epoch):
    """The order of an epoch, a function of the seed and the epoch alone."""
    if shuffle:
        source = np.random.SeedSequence(seed, spawn_key=(epoch,))
        places = np.random.default_rng(source).permutation(places)
    return np.asarray(places, "int32")


def fit_epochs(engine, fit, device, seed):
    """Trains as `engine.model.fit` would, a whole epoch at a time.

    Args:
        engine: An `Engine` that holds the model's state.
        fit: A `Fit`.
        device: A `Device`.
        seed: Of the order of the examples.

    Returns:
        The `History`.
    """
    return finish(epochs_of(engine, fit, device, seed))


def finish(steps):
    """Runs by itself what yields an engine and arguments of its `run`.

    Args:
        steps: A generator, which is sent the logs of each epoch.

    Returns:
        What the generator returns.
    """
    logs = None
    while True:
        try:
            engine, request = steps.send(logs)
        except StopIteration as end:
            return end.value
        try:
            logs = engine.run(*request)
        except BaseException as error:
            steps.throw(error)


def epochs_of(engine, fit, device, seed):
    """As `fit_epochs`, but leaves it to others to run the epochs.

    Yields:
        The engine, and arguments of its `run`, whose logs have to be sent.
    """
    model, arguments = engine.model, fit.arguments
    put = engine.epochs.put
    data = device.put(fit.data, put)
    places = np.arange(count(fit.data)) if fit.order is None else fit.order
    shuffle, epochs = arguments["shuffle"], arguments["epochs"]
    batch_size = fit.batch_size
    order = epoch_order(places, shuffle, seed, 0)
    requests = [("train", data, order, batch_size)]
    if fit.validation is not None:
        test_data = device.put(fit.validation, put)
        test_order = fit.validation_order
        if test_order is None:
            test_order = np.arange(count(fit.validation))
        test_order = np.asarray(test_order, "int32")
        test_size = arguments["validation_batch_size"] or batch_size
        requests.append(("test", test_data, test_order, test_size))
    engine.prepare(*requests)

    callbacks = keras.callbacks.CallbackList(
        arguments["callbacks"],
        add_history=True,
        add_progbar=arguments["verbose"] != 0,
        verbose=arguments["verbose"],
        epochs=epochs,
        steps=math.ceil(len(order) / batch_size),
        model=model,
    )
    model.stop_training = False
    model.train_function = None
    callbacks.on_train_begin()
    logs = {}
    for epoch in range(epoch_of_backup(model) or arguments["initial_epoch"], epochs):
        callbacks.on_epoch_begin(epoch)
        if model.train_function is not None:  # A callback wants it to be made anew.
            model.train_function = None
            engine.recompile(*requests)
        order = epoch_order(places, shuffle, seed, epoch)
        logs = yield engine, ("train", data, order, batch_size)
        if fit.validation is not None and _is_due(epoch, arguments["validation_freq"]):
            callbacks.on_test_begin()
            test_logs = yield engine, requests[1]
            callbacks.on_test_end(test_logs)
            logs |= {f"val_{name}": value for name, value in test_logs.items()}
        callbacks.on_epoch_end(epoch, logs)
        if model.stop_training:
            break
    model.optimizer.finalize_variable_values(model.trainable_weights)
    callbacks.on_train_end(logs)
    return model.history


def _is_due(epoch, frequency):
    if isinstance(frequency, int):
        return (epoch + 1) % frequency == 0
    return epoch + 1 in frequency
