# SPDX-License-Identifier: Apache-2.0
"""TrainingMonitor: how far each layer's weights really move, and what a probe measures.

What:    every `update_freq` steps writes a row for each layer: update over weight,
         learning rate, and the figures of a probe, such as `LayerProbe`: gradients,
         activations, saturated and dead units, BatchNormalization's statistics.
When:    a training that does not work as it should, or to check that it does.
Not for: several processes.
Source:  the ratio of update to weight, which should be near 1e-3: Stanford's course
         CS231n, "Neural Networks Part 3".
Needs:   keras>=3.12; pyarrow for Parquet; tensorboard for TensorBoard.
"""

import contextlib
import csv
import importlib.util
import pathlib
from collections.abc import Callable

import keras
import numpy as np

KEPT = 100  # measurements in memory at most
COLUMNS = (
    *("step", "epoch", "layer", "kind", "trainable", "learning_rate", "steps"),
    *("updated", "weight_norm", "update_ratio"),
)


class TrainingMonitor(keras.callbacks.Callback):
    """Measures each layer every `update_freq` steps, and writes a tidy table.

    A row is a layer at a step. Its `weight_norm` and the probe's figures are those of
    the weights before the step; `update_ratio` is what the step then does to them.
    If a figure cannot be measured, its field is empty.

    - `step`, `epoch`: both from 0.
    - `layer`, `kind`: its path, and its class.
    - `trainable`: 1; 0 if it is frozen; empty if it has nothing to train.
    - `learning_rate`: that of the optimizer, or of the optimizer that it wraps.
    - `weight_norm`, `update_ratio`: |w| and |Δw| / |w| over all weights that the layer
      itself trains, not those of layers within it. Since weights before and after are
      compared, it is right with any optimizer, weight decay, loss scale or layer-wise
      learning rate, and for any `train_step`. Empty if all weights are 0.
    - `updated`: 0 if no weight of the model changed, as in a step that accumulates
      gradients or that a loss scale skips. With accumulation, the update is measured
      over as many steps as are accumulated.
    - `steps`: how many steps the update took: more than 1 with accumulation and
      `steps_per_execution`.

    The compiled step is not changed, and memory does not grow: the file has all rows,
    `rows` at most 100 measurements. When there are more, every other one is dropped.

    Args:
        log_dir: String or `pathlib.Path`, the folder for `monitor.csv`. If it holds
            that of the run that is resumed, rows from the current step on are
            replaced; if that of another run, all are.
        probe: A `LayerProbe`, or any function from the model to a dict of figures by
            layer path, with the names of the figures as its attribute `FIGURES`. Keras
            does not pass data to callbacks, so without a probe only updates are
            measured. Defaults to `None`.
        update_freq: Int, steps from one measurement to the next. Defaults to 50.
        parquet: Bool, whether to also write `monitor.parquet` when training ends.
            Defaults to `False`.
        tensorboard: Bool, whether to also write scalars for TensorBoard into the
            folder, with the package `tensorboard`, on any backend. Defaults to `False`.

    Attributes:
        rows: The table in memory, a list of dicts, with `None` for empty fields.

    Raises:
        ValueError: If `update_freq` is below 1, or the probe has no `FIGURES`.
        ImportError: If the package for Parquet or TensorBoard is not installed.

    Example:
    >>> import tempfile
    >>> x = y = np.ones((8, 1), "float32")
    >>> dense = keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")
    >>> model = keras.Sequential([keras.Input((1,)), dense])
    >>> model.compile(keras.optimizers.SGD(0.1), loss=lambda y, y_pred: y_pred)
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     monitor = TrainingMonitor(directory, update_freq=1)
    ...     history = model.fit(x, y, verbose=0, callbacks=[monitor])
    >>> f"{monitor.rows[0]['update_ratio']:.3f}"
    '0.100'
    """

    def __init__(
        self,
        log_dir: str | pathlib.Path,
        probe: Callable[[keras.Model], dict] | None = None,
        update_freq: int = 50,
        parquet: bool = False,
        tensorboard: bool = False,
    ) -> None:
        super().__init__()
        if update_freq < 1:
            raise ValueError(
                f"`update_freq` must be 1 or more. Received: update_freq={update_freq}"
            )
        if probe is not None and not hasattr(probe, "FIGURES"):
            raise ValueError(
                "`probe` must be a `LayerProbe(x, y)`, or another function with an "
                f"attribute `FIGURES`. Received: probe={probe!r:.80}"
            )
        for package, argument, given in (
            ("pyarrow", "parquet", parquet),
            ("tensorboard", "tensorboard", tensorboard),
        ):
            if given and importlib.util.find_spec(package) is None:
                raise ImportError(
                    f"The package {package} is not installed: `pip install {package}`, "
                    f"or leave out `{argument}`. Received: {argument}=True"
                )
        self.log_dir = pathlib.Path(log_dir)
        self.probe, self.update_freq = probe, update_freq
        self.parquet, self.tensorboard = parquet, tensorboard
        self.rows = []
        self._step = self._next = self._epoch = self._begun = 0
        self._pending = self._file = self._table = self._writer = None

    def on_train_begin(self, logs=None):
        self._step = self._next = self._epoch = 0
        self._pending = self._file = self._writer = None

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch

    def on_train_batch_begin(self, batch, logs=None):
        if self._file is None:  # not earlier: FullState restores as training begins
            self._start()
        self._begun = batch
        if self._step >= self._next:
            self._finish()
            self._next = self._step + self.update_freq
            figures = self.probe(self.model) if self.probe is not None else {}
            self._pending = (self._step, self._epoch, figures, self._weights())

    def on_train_batch_end(self, batch, logs=None):
        self._step += batch - self._begun + 1
        if self._pending is not None:
            step, *_, before = self._pending
            awaited = max(
                getattr(each, "gradient_accumulation_steps", None) or 1
                for each in [None, *_chain(self.model)]
            )
            if self._step - step >= awaited or _moved(before, self._weights()):
                self._finish()

    def on_train_end(self, logs=None):
        if self._file is None:
            return
        self._finish()
        self._file.close()
        if self._writer is not None:
            self._writer.close()
        if self.parquet:
            import pyarrow.csv
            import pyarrow.parquet

            options = pyarrow.csv.ConvertOptions(strings_can_be_null=True)
            path = self.log_dir / "monitor.csv"
            table = pyarrow.csv.read_csv(path, convert_options=options)
            pyarrow.parquet.write_table(table, self.log_dir / "monitor.parquet")

    def _start(self):
        """Opens the files. Of an interrupted run keeps the rows before this step."""
        optimizer = getattr(self.model, "optimizer", None)
        self._step = int(getattr(optimizer, "iterations", 0))
        self.log_dir.mkdir(parents=True, exist_ok=True)
        path, kept = self.log_dir / "monitor.csv", []
        columns = [*COLUMNS, *(self.probe.FIGURES if self.probe is not None else ())]
        if self._step and path.exists():
            with open(path, newline="", encoding="utf-8") as file:
                rows = csv.DictReader(file)
                kept = [row for row in rows if int(row["step"]) < self._step]
        self.rows = [row for row in self.rows if row["step"] < self._step]
        self._file = open(path, "w", newline="", encoding="utf-8")  # noqa: SIM115
        self._table = csv.DictWriter(self._file, columns, extrasaction="ignore")
        self._table.writeheader()
        self._table.writerows(kept)
        if self.tensorboard:
            from tensorboard.summary import Writer

            self._writer = Writer(str(self.log_dir))

    def _weights(self):
        # Copies, on the host: JAX gives the step the memory of the variables.
        return [_copy(variable) for variable in self.model.trainable_variables]

    def _finish(self):
        """Writes what was measured, with the update that came of it, if one did."""
        if self._pending is None:
            return
        step, epoch, figures, before = self._pending
        self._pending = None
        model, after = self.model, self._weights()
        if len(before) < len(after):  # the step has built the model
            before = after
        rates = (_learning_rate(each) for each in _chain(model))
        common = {
            "step": step,
            "epoch": epoch,
            "learning_rate": next((rate for rate in rates if rate is not None), None),
            "steps": self._step - step,
            "updated": int(_moved(before, after)),
        }
        owned, rows = _owned(model), []
        layers = {_path(layer): layer for layer in model._flatten_layers()}
        for path in dict.fromkeys([*figures, *layers]):
            row = dict.fromkeys(self._table.fieldnames) | common | {"layer": path}
            layer = layers.get(path)
            row["kind"] = type(layer).__name__ if layer else None
            if path in owned:
                norm = _norm([before[place] for place in owned[path]])
                row |= {"trainable": 1, "weight_norm": norm}
                if norm:
                    moved = _norm([after[i] - before[i] for i in owned[path]])
                    row["update_ratio"] = moved / norm
            elif layer and layer.weights and not layer.trainable:
                row["trainable"] = 0
            if path in figures or row["trainable"] is not None:
                rows.append(row | figures.get(path, {}))
        self._table.writerows(rows)
        self._file.flush()
        for row in rows if self._writer is not None else ():
            for name, value in row.items():
                if name not in COLUMNS[:-2] and isinstance(value, (int, float)):
                    self._writer.add_scalar(f"{name}/{row['layer']}", value, step)
        self.rows += rows
        measured = list(dict.fromkeys(row["step"] for row in self.rows))
        if len(measured) > KEPT:
            kept = set(measured[::2])
            self.rows = [row for row in self.rows if row["step"] in kept]


def _path(layer):
    return getattr(layer, "path", None) or layer.name


def _owned(model):
    """Places of the variables that each layer trains itself, not one within it."""
    owner = {
        id(variable): _path(layer)
        for layer in model._flatten_layers()  # what is within a layer comes after it
        for variable in layer.trainable_variables
    }
    owned = {}
    for place, variable in enumerate(model.trainable_variables):
        owned.setdefault(owner[id(variable)], []).append(place)
    return owned


def _copy(value):
    return np.array(keras.ops.convert_to_numpy(value), "float64")


def _norm(arrays):
    return float(np.sqrt(sum(np.vdot(each, each) for each in arrays)))


def _moved(before, after):
    pairs = zip(before, after, strict=False)
    return any(not np.array_equal(a, b, equal_nan=True) for a, b in pairs)


def _chain(model):
    """A model's optimizer and those that it wraps."""
    optimizer = getattr(model, "optimizer", None)
    while optimizer is not None:
        yield optimizer
        inner = getattr(optimizer, "optimizer", None)
        optimizer = getattr(optimizer, "inner_optimizer", inner)


def _learning_rate(optimizer):
    with contextlib.suppress(AttributeError, NotImplementedError):
        return _copy(optimizer.learning_rate).item()
