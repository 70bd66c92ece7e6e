"""`fit` for data in memory, a whole epoch at a time."""

import math
from collections.abc import Callable, Generator, Sequence
from typing import Any

import keras
import numpy as np
from keras import tree

from hornbook.compat import epoch_of_backup
from hornbook.tuning.warm.epochs import EpochRequest, Logs
from hornbook.tuning.warm.fit_arguments import FitArguments, count_examples

# Yields a compiled model and an epoch for it to run, and is sent the epoch's logs.
EpochRequests = Generator[tuple[Any, EpochRequest], Any, Any]


class DeviceCache:
    """Tensors on the device, each copied there once."""

    def __init__(self) -> None:
        # From the id of an array to the array, kept so that its id stays its own, and
        # the tensor.
        self.tensors: dict[int, tuple[Any, Any]] = {}

    def to_device(self, data: Any, copy: Callable[[Any], Any]) -> Any:
        """Returns the tensors of nested arrays.

        Args:
            data: Nested arrays.
            copy: Function that copies an array to the device.
        """

        def one(array):
            if id(array) not in self.tensors:
                self.tensors[id(array)] = array, copy(_standardized(array))
            return self.tensors[id(array)][1]

        return tree.map_structure(one, data)


def _standardized(array: Any) -> Any:
    """Floats as `floatx`, as `fit` converts them."""
    if keras.backend.is_float_dtype(keras.backend.standardize_dtype(array.dtype)):
        if isinstance(array, np.ndarray):
            return array.astype(keras.config.floatx())
        return keras.ops.cast(array, keras.config.floatx())
    return array


def epoch_order(
    indices: Sequence[int] | np.ndarray, shuffle: bool, seed: int, epoch: int
) -> np.ndarray:
    """Returns the order of the examples in an epoch.

    It depends on nothing but the arguments, so that a training that is resumed sees the
    same batches.

    Args:
        indices: Indices of the examples.
        shuffle: Whether to shuffle them.
        seed: Integer, the seed of the training.
        epoch: Integer, counted from 0.

    Returns:
        Array of int32.

    Example:

    >>> epoch_order([0, 1, 2, 3], shuffle=True, seed=0, epoch=1).tolist()
    [2, 0, 3, 1]
    """
    if shuffle:
        source = np.random.SeedSequence(seed, spawn_key=(epoch,))
        indices = np.random.default_rng(source).permutation(indices)
    return np.asarray(indices, "int32")


def fit(
    compiled: Any, arguments: FitArguments, device: DeviceCache, seed: int
) -> keras.callbacks.History:
    """Trains as `compiled.model.fit` would, a whole epoch at a time.

    Args:
        compiled: A `CompiledModel` that holds the model's state.
        arguments: Parsed arguments of `fit`.
        device: A `DeviceCache`.
        seed: Integer, from which the order of the examples is drawn.
    """
    return run_epochs(epoch_requests(compiled, arguments, device, seed))


def run_epochs(requests: EpochRequests) -> Any:
    """Runs every epoch that a generator requests.

    Args:
        requests: A generator, such as `epoch_requests`.

    Returns:
        What the generator returns.
    """
    logs = None
    while True:
        try:
            compiled, request = requests.send(logs)
        except StopIteration as end:
            return end.value
        try:
            logs = compiled.run(request)
        except BaseException as error:
            requests.throw(error)


def epoch_requests(
    compiled: Any, arguments: FitArguments, device: DeviceCache, seed: int
) -> EpochRequests:
    """As `fit`, but leaves it to the caller to run the epochs.

    Yields:
        The compiled model and an `EpochRequest`. The logs of the epoch must be sent.
    """
    model, others = compiled.model, arguments.others
    copy = compiled.epochs.to_device
    data = device.to_device(arguments.data, copy)
    indices = arguments.train_indices
    if indices is None:
        indices = np.arange(count_examples(arguments.data))
    shuffle, epochs = others["shuffle"], others["epochs"]
    batch_size = arguments.batch_size
    order = epoch_order(indices, shuffle, seed, 0)
    train = EpochRequest("train", data, order, batch_size)
    test = _test_request(arguments, device, copy)
    prepared = [train] if test is None else [train, test]
    compiled.prepare(*prepared)

    callbacks = keras.callbacks.CallbackList(
        others["callbacks"],
        add_history=True,
        add_progbar=others["verbose"] != 0,
        verbose=others["verbose"],
        epochs=epochs,
        steps=math.ceil(len(order) / batch_size),
        model=model,
    )
    model.stop_training = False
    model.train_function = None
    callbacks.on_train_begin()
    logs: Logs = {}
    for epoch in range(epoch_of_backup(model) or others["initial_epoch"], epochs):
        callbacks.on_epoch_begin(epoch)
        if model.train_function is not None:  # A callback has asked for a new one.
            model.train_function = None
            compiled.recompile(*prepared)
        order = epoch_order(indices, shuffle, seed, epoch)
        logs = yield compiled, train._replace(order=order)
        if test is not None and _is_due(epoch, others["validation_freq"]):
            callbacks.on_test_begin()
            test_logs = yield compiled, test
            callbacks.on_test_end(test_logs)
            logs |= {f"val_{name}": value for name, value in test_logs.items()}
        callbacks.on_epoch_end(epoch, logs)
        if model.stop_training:
            break
    model.optimizer.finalize_variable_values(model.trainable_weights)
    callbacks.on_train_end(logs)
    return model.history


def _test_request(
    arguments: FitArguments, device: DeviceCache, copy: Callable[[Any], Any]
) -> EpochRequest | None:
    if arguments.validation_data is None:
        return None
    data = device.to_device(arguments.validation_data, copy)
    indices = arguments.validation_indices
    if indices is None:
        indices = np.arange(count_examples(arguments.validation_data))
    batch_size = arguments.others["validation_batch_size"] or arguments.batch_size
    return EpochRequest("test", data, np.asarray(indices, "int32"), batch_size)


def _is_due(epoch: int, frequency: int | Sequence[int]) -> bool:
    if isinstance(frequency, int):
        return (epoch + 1) % frequency == 0
    return epoch + 1 in frequency
