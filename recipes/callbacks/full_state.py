# SPDX-License-Identifier: Apache-2.0
"""FullState: resume a killed training and end with the same weights, bit for bit.

What:    after each epoch, saves everything that later epochs depend on.
When:    training that may be killed at any moment and must give the same result.
Not for: several processes; random numbers from outside the model and its data, such as
         unseeded `keras.random` calls (Keras's global generator is not public),
         TensorFlow's own generators, shuffled tf.data.
Source:  keras.callbacks.BackupAndRestore.
Differs: also saves seed generators, the other callbacks, History and the random states
         of Python, NumPy and torch; saves atomically, and verifies a checksum.
Needs:   keras>=3.12; torch where that is the backend.
"""

import contextlib
import hashlib
import inspect
import itertools
import json
import os
import pathlib
import random
import re
from typing import Any

import keras
import numpy as np


class FullState(keras.callbacks.Callback):
    """Saves the full state of training after each epoch, and resumes from it.

    Run the same script again, and `fit` continues after the last completed epoch.
    Weights, optimizer and History end as in a training that was never interrupted. A
    training that had already ended, also by `stop_training`, ends at once. What is
    saved:

    - The variables of the model, with its layers' seed generators, and those of the
      compiled optimizer.
    - What training changed in the callbacks before this one: attributes made of
      numbers, strings, arrays, lists, tuples and dicts, such as the best weights of
      `EarlyStopping`. The rest stays as the script sets it, so a new `patience` takes
      effect.
    - History, `stop_training`, and the states of Python's `random`, of `numpy.random`
      and, on the torch backend, of torch.

    To end with the same weights to the last bit, the script must be deterministic: it
    calls `keras.utils.set_random_seed`, and on TensorFlow
    `tf.config.experimental.enable_op_determinism`; its training data depend on
    nothing but the epoch (as with `SeededBatches`), its validation data not even on
    that; and it calls `fit` with `shuffle=False`.

    Each state is one file, `epoch-00003.npz`, without pickled objects. It is complete
    and on disk before the file `latest`, which holds its name and sha256, is replaced.
    So a kill at any moment leaves a valid state.

    Args:
        backup_dir: String or `pathlib.Path`, the folder for the state of this one
            training. Delete it to start from the beginning.
        data: Data with a method `set_epoch(epoch)`, which is called at the start of
            each epoch. Defaults to `None`.

    Attributes:
        resumed_epoch: Int, the number of epochs that were restored, which is the index
            of the next one; `None` if training started from the beginning.

    Raises:
        ValueError: If this is not the last callback, if the model is not built, or if
            the state is damaged or belongs to another training.

    Example:
    >>> import tempfile
    >>> x = y = np.ones((8, 1))
    >>> def train(epochs, directory):
    ...     model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    ...     model.compile("adam", "mse")
    ...     state = FullState(directory)
    ...     history = model.fit(x, y, epochs=epochs, verbose=0, callbacks=[state])
    ...     return state.resumed_epoch, history.epoch
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     print(train(2, directory))
    ...     print(train(3, directory))
    (None, [0, 1])
    (2, [0, 1, 2])
    """

    def __init__(self, backup_dir: str | pathlib.Path, data: Any = None) -> None:
        super().__init__()
        if data is not None and not hasattr(data, "set_epoch"):
            raise ValueError(
                f"`data` must have a method `set_epoch`. Received: data={data}"
            )
        self.backup_dir = pathlib.Path(backup_dir)
        self.data = data
        self.resumed_epoch = self._history = None
        self._others, self._at_begin = {}, {}

    def on_train_begin(self, logs=None):
        """Restores the state, if there is one."""
        if not self.model.built:
            raise ValueError(
                "FullState needs a built model: start it with an `Input`, or call it "
                f"once. Received: model={self.model}"
            )
        self._find_others()
        self.resumed_epoch = self._history = None
        if (self.backup_dir / "latest").exists():
            self._restore(*self._read())

    def on_epoch_begin(self, epoch, logs=None):
        """Passes the epoch on to the data."""
        self._restore_history()
        if self.data is not None:
            self.data.set_epoch(epoch)

    def on_epoch_end(self, epoch, logs=None):
        """Saves the state."""
        history = self.model.history
        epochs, curves = history.epoch, dict(history.history)
        if epoch not in epochs:  # `fit` calls its History after this callback.
            epochs = [*epochs, epoch]
            for name, value in logs.items():
                curves[name] = [*curves.get(name, []), value]
        arrays = {}
        values = [keras.ops.convert_to_numpy(v) for _, v in self._variables()]
        state = {
            "epoch": epoch + 1,
            "stopped": bool(self.model.stop_training),
            "signature": self._signature(),
            "variables": _encode(values, arrays),
            "history": _encode([epochs, curves], arrays),
            "random": _encode(_get_random_states(), arrays),
            "callbacks": {},
        }
        for key, callback in self._others.items():
            changed = state["callbacks"][key] = {}
            for name, (code, own_arrays) in _attributes(callback).items():
                if code != self._at_begin[key].get(name):
                    changed[name] = code
                    arrays.update(own_arrays)
        self._publish(state, arrays)

    def on_train_end(self, logs=None):
        """Restores History if no epoch was left to train."""
        self._restore_history()

    def _find_others(self):
        # Keras tells a callback nothing of the others: ask the list that calls it.
        frame, callbacks = inspect.currentframe(), []
        while frame is not None and self not in callbacks:
            caller = frame.f_locals.get("self")
            if isinstance(caller, keras.callbacks.CallbackList):
                callbacks = caller.callbacks
            frame = frame.f_back
        names = [type(callback).__name__ for callback in callbacks]
        place = callbacks.index(self) if self in callbacks else -1
        # `fit` appends these two, and training does not depend on them.
        late = (keras.callbacks.History, keras.callbacks.ProgbarLogger)
        if place < 0 or not all(isinstance(c, late) for c in callbacks[place + 1 :]):
            raise ValueError(
                "FullState must be the last callback given to `fit`, since others "
                f"reset themselves when training begins. Received: callbacks={names}"
            )
        self._others = {
            f"{names[i]} {names[:i].count(names[i])}": callbacks[i]
            for i in range(place)
        }
        self._at_begin = {
            key: {name: code for name, (code, _) in _attributes(callback).items()}
            for key, callback in self._others.items()
        }

    def _variables(self):
        # All that a training step can change. Paths in an optimizer depend on where
        # it was built, and numbers in names on what else the process built.
        named = [(f"model/{v.path}", v) for v in self.model.variables]
        named += [(f"optimizer/{v.name}", v) for v in self.model.optimizer.variables]
        return [(re.sub(r"_\d+", "", name), v) for name, v in named]

    def _signature(self):
        return [["backend", keras.backend.backend()]] + [
            [name, list(v.shape), keras.backend.standardize_dtype(v.dtype)]
            for name, v in self._variables()
        ]

    def _publish(self, state, arrays):
        path = self.backup_dir / f"epoch-{state['epoch']:05d}.npz"
        self.backup_dir.mkdir(parents=True, exist_ok=True)
        with _durable(path) as file:
            text = np.frombuffer(json.dumps(state).encode(), "uint8")
            np.savez(file, state=text, **arrays)
        with _durable(self.backup_dir / "latest.new") as file:
            # As `sha256sum` does, so that `sha256sum --check latest` works.
            file.write(f"{_sha256(path)}  {path.name}\n".encode())
        os.replace(self.backup_dir / "latest.new", self.backup_dir / "latest")
        if os.name == "posix":  # Elsewhere a folder cannot be opened.
            folder = os.open(self.backup_dir, os.O_RDONLY)
            os.fsync(folder)
            os.close(folder)
        self._remove_all_but(path)

    def _remove_all_but(self, path):
        for other in self.backup_dir.glob("epoch-*.npz"):
            if other != path:
                other.unlink()

    def _read(self):
        latest = self.backup_dir / "latest"
        match = re.fullmatch(rb"(\w{64})  (epoch-\d+\.npz)\n", latest.read_bytes())
        path = self.backup_dir / match[2].decode() if match else latest
        if not (match and path.is_file() and _sha256(path) == match[1].decode()):
            raise ValueError(
                f"The saved state is damaged: `{path}` is missing or has changed. "
                f"Restore a good copy of it, or delete `{self.backup_dir}` to start "
                f"from the beginning. Received: backup_dir={self.backup_dir}"
            )
        self._remove_all_but(path)
        with np.load(path) as file:
            arrays = dict(file)
        return json.loads(bytes(arrays.pop("state"))), arrays

    def _restore(self, state, arrays):
        if not self.model.optimizer.built:
            self.model.optimizer.build(self.model.trainable_variables)
        for saved, here in itertools.zip_longest(state["signature"], self._signature()):
            if saved != here:
                raise ValueError(
                    f"`{self.backup_dir}` holds the state of another training: it has "
                    f"{saved} where this one has {here}. Run the one that saved it, "
                    "or delete the folder to start from the beginning. "
                    f"Received: model={self.model}"
                )
        values = _decode(state["variables"], arrays)
        for (_, variable), value in zip(self._variables(), values, strict=True):
            variable.assign(value)
        for key in state["callbacks"].keys() & self._others.keys():
            for name, code in state["callbacks"][key].items():
                setattr(self._others[key], name, _decode(code, arrays))
        _set_random_states(_decode(state["random"], arrays))
        self._history = _decode(state["history"], arrays)
        self.resumed_epoch = state["epoch"]
        self.model.stop_training = state["stopped"]
        # Not public, but it is what BackupAndRestore sets.
        end = self.params["epochs"] if state["stopped"] else 0
        self.model._initial_epoch = max(state["epoch"], end)

    def _restore_history(self):
        # No earlier: `fit` calls its History after this callback, which clears it.
        if self._history is not None:
            self.model.history.epoch, self.model.history.history = self._history
            self._history = self.model._initial_epoch = None


def _attributes(callback):
    """The code of each attribute that can be stored, with its arrays."""
    codes = {}
    for name, value in vars(callback).items():
        # Keras flips the sign of `min_delta` when it first compares, and would flip
        # it again.
        if name != "min_delta":
            arrays = {}
            with contextlib.suppress(TypeError):
                codes[name] = _encode(value, arrays), arrays
    return codes


def _encode(value, arrays):
    """What JSON can hold of a value. Its arrays go to `arrays`, by content."""
    if value is None or type(value) in (bool, int, float, str):
        return value
    if type(value) in (list, tuple, dict):
        items = value.items() if type(value) is dict else value
        return {type(value).__name__: [_encode(item, arrays) for item in items]}
    if keras.ops.is_tensor(value):
        value = keras.ops.convert_to_numpy(value)
    if not isinstance(value, (np.ndarray, np.generic)) or value.dtype.hasobject:
        raise TypeError(f"Cannot be stored without pickle. Received: value={value!r}")
    dtype = None
    if value.dtype.isbuiltin == 2:  # Such as bfloat16, which NumPy's files do not know.
        dtype = value.dtype.name
        value = value.view(f"uint{8 * value.itemsize}")
    about = f"{value.dtype} {value.shape} ".encode()
    key = hashlib.sha256(about + value.tobytes()).hexdigest()
    arrays[key] = np.asarray(value)
    return {"array": [key, dtype]}


def _decode(code, arrays):
    if not isinstance(code, dict):
        return code
    [(kind, content)] = code.items()
    if kind == "array":
        key, dtype = content
        array = arrays[key].copy()  # No two values share memory.
        return (array.view(dtype) if dtype else array)[()]
    kind = {"list": list, "tuple": tuple, "dict": dict}[kind]
    return kind(_decode(item, arrays) for item in content)


def _get_random_states():
    states = {"python": random.getstate(), "numpy": np.random.get_state(legacy=False)}
    if keras.backend.backend() == "torch":
        import torch

        states["torch"] = torch.get_rng_state()
        states["cuda"] = torch.cuda.get_rng_state_all()
    return states


def _set_random_states(states):
    random.setstate(states["python"])
    np.random.set_state(states["numpy"])
    if keras.backend.backend() == "torch":
        import torch

        torch.set_rng_state(torch.from_numpy(states["torch"]))
        torch.cuda.set_rng_state_all([torch.from_numpy(s) for s in states["cuda"]])


def _sha256(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def _durable(path):
    """Opens a file for writing that is on disk when it has been closed."""
    with open(path, "wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
