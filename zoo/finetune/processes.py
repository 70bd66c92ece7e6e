"""Several processes that train as one: the same script, started on each machine."""

import contextlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from hornbook.errors import InputError

ADDRESSES, COUNT, NUMBER = (
    f"KERAS_DISTRIBUTION_{name}"
    for name in ("JOB_ADDRESSES", "NUM_PROCESSES", "PROCESS_ID")
)


def join() -> None:
    """Meets the other processes, where the environment says that there are any.

    That is for the variables which `keras.distribution.initialize` reads; a script
    that has called it itself has met them already.

    Raises:
        InputError: if the backend isn't JAX, a variable is missing, or they can't meet.
    """
    given = {
        name: os.environ[name]
        for name in (ADDRESSES, COUNT, NUMBER)
        if name in os.environ
    }
    if not given or given.get(COUNT) == "1":
        return
    received = ", ".join(f"{name}={value}" for name, value in given.items())
    backend = keras.backend.backend()
    if backend != "jax":
        raise InputError(
            f"Several processes need JAX as Keras's backend (KERAS_BACKEND=jax), not "
            f"{backend}: only there can Keras share a batch between them; on "
            f"TensorFlow `fit` fails under MultiWorkerMirroredStrategy "
            f"(keras#20585), and torch has no keras.distribution. Received: {received}"
        )
    if len(given) < 3:
        missing = {ADDRESSES, COUNT, NUMBER} - given.keys()
        raise InputError(
            f"Several processes need {', '.join(sorted(missing))} too. "
            f"Received: {received}"
        )
    import jax

    if jax.distributed.is_initialized():
        return
    try:
        keras.distribution.initialize()
    except (RuntimeError, ValueError) as error:
        raise InputError(
            f"The processes did not meet ({error}). A script in which Keras computes "
            f"anything before calls keras.distribution.initialize() at its beginning. "
            f"Received: {received}"
        ) from error


def count() -> int:
    """How many processes train together; 1 without `join`."""
    if keras.backend.backend() != "jax":
        return 1
    import jax

    return jax.process_count()


def is_first() -> bool:
    """Whether this is process 0, which writes files and tells how far it is."""
    if keras.backend.backend() != "jax":
        return True
    import jax

    return jax.process_index() == 0


def exchange(text: str) -> list[str]:
    """What each process says: a list of strings, the same everywhere.

    Like all that follows, it waits until every process has come to the same call.

    Example:

    >>> exchange("ready")
    ['ready']
    """
    if count() == 1:
        return [text]
    from jax.experimental import multihost_utils

    said = np.frombuffer(text.encode(), "uint8")
    lengths = multihost_utils.process_allgather(np.int32(len(said)))
    padded = np.zeros(max(1, lengths.max()), "uint8")
    padded[: len(said)] = said
    rows = multihost_utils.process_allgather(padded)
    return [
        row[:length].tobytes().decode()
        for row, length in zip(rows, lengths, strict=True)
    ]


@contextlib.contextmanager
def together() -> Iterator[None]:
    """Lets what is wrong for one process end all, before the others wait for it.

    Raises:
        InputError: what this process raised within, or else another one.
    """
    own = None
    try:
        yield
    except InputError as error:
        own = error
    for number, sentence in enumerate(exchange("" if own is None else str(own))):
        if sentence:
            raise own or InputError(f"Process {number}: {sentence}")


def require_same(facts: Mapping[str, Any]) -> None:
    """Compares what the processes were given.

    Args:
        facts: Dict from a name to what JSON can hold.

    Raises:
        InputError: if one was given something else than process 0.
    """
    first, *others = map(json.loads, exchange(json.dumps(facts)))
    for number, other in enumerate(others, 1):
        for name, value in first.items():
            if other[name] != value:
                raise InputError(
                    f"{name} must be the same in all processes. Received: {value!r} "
                    f"in process 0, {other[name]!r} in process {number}"
                )


def follow_first(variables: Sequence[keras.Variable]) -> None:
    """Gives variables the values that they have in process 0.

    Each process made them for itself: other hardware rounds otherwise, and a backbone
    of random weights is another one.
    """
    if count() == 1:
        return
    from jax.experimental import multihost_utils

    values = [keras.ops.convert_to_numpy(variable) for variable in variables]
    values = multihost_utils.broadcast_one_to_all(values)
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def leave() -> None:
    """Ends what is done together, so that nobody waits for the one who works on."""
    if count() > 1:
        import jax

        jax.distributed.shutdown()
