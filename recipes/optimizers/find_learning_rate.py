# SPDX-License-Identifier: Apache-2.0
"""find_learning_rate: the learning rate, from one short run in which it rises.

What:    trains a compiled model while the learning rate grows from tiny to far too
         large, restores everything, and suggests rates from the curve of the loss.
When:    a new model, data set or batch size; before a search over rates, to centre it.
Not for: the last half a per cent: a rate that suits the first hundred steps need not
         suit a whole training. Models with a `fit` of their own.
Source:  Smith, "Cyclical Learning Rates for Training Neural Networks", WACV 2017 (the
         range test); fastai's finder (the ramp, the steepest slope, the valley).
Differs: the loss of each batch is smoothed from both sides, over the same part of a
         decade whatever the number of steps, so that the curve does not lag.
Needs:   keras>=3.12; matplotlib for pictures; torch where that is the backend.
"""

import contextlib
import copy
import functools
import gc
import itertools
import math
import random
from typing import Any

import keras
import numpy as np
from keras import ops

WIDTH = 0.15  # of the smoothing, as a standard deviation in decades of the rate
WORSE = 4  # times the best loss so far: the run has diverged
LATEST = 5  # batches, whose mean loss is compared with the best such mean
LEAST = 10  # steps


def find_learning_rate(
    model: keras.Model,
    data: Any,
    start_lr: float = 1e-6,
    end_lr: float = 10.0,
    steps: int = 100,
    batch_size: int = 32,
    seed: int = 0,
    verbose: int = 1,
) -> "_Found":
    """Suggests learning rates for a compiled model, which it leaves as it was.

    Each of `steps` batches is trained on by `model.train_on_batch`, at a learning rate
    that grows by the same factor from one to the next. The run ends early if the loss
    is not finite, or if its mean over five batches is above its start and above four
    times the best.

    Afterwards the weights, BatchNormalization's statistics, the optimizer's state,
    the metrics, each `keras.random.SeedGenerator` in the process, and the states of
    Python's `random`, of `numpy.random` and of torch are what they were, bit for bit,
    even after an error or Ctrl-C. So is the compiled training step: the run traces
    one of its own. `fit` then gives the same result as without this run. Only the
    optimizer is built, if it was not.

    - An optimizer with a `LearningRateSchedule` follows the ramp instead; the result
      is the rate at which to start the schedule.
    - With layer-wise learning rates the ratios are kept: the result is the rate that
      is scaled.
    - With gradient accumulation, multiply `steps` by the number of accumulated steps.

    Args:
        model: A built and compiled `keras.Model`.
        data: One of:

            - A tuple of arrays, or of dicts or lists of arrays: `(x, y)` or
              `(x, y, sample_weight)`. Batches are drawn from it in random order.
            - A `PyDataset`. Its batches are read in order, from a shallow copy whose
              epoch methods are not called.
            - An iterable of batches that can be iterated over more than once, such as
              a list, `tf.data.Dataset` or `DataLoader`. A new iterator is made. Its
              own state advances as with each pass: that of a `tf.data` set that
              reshuffles, or a loader's own generator.

            Data that are too short are repeated.
        start_lr: Float above 0, the learning rate of the first step. Defaults to 1e-6.
        end_lr: Float above `start_lr`, that of the last step. Defaults to 10.
        steps: Int, at least 10, the number of batches. Defaults to 100.
        batch_size: Int, the examples in a batch, for arrays. Defaults to 32.
        seed: Int, the seed of the order of arrays. Defaults to 0.
        verbose: 1, the default, shows a progress bar, 0 nothing.

    Returns:
        An object with

        - `learning_rates`, `losses`: Arrays `(steps,)` of what was run, up to the last
          finite loss.
        - `smoothed`: The losses, smoothed.
        - `steepest`: The learning rate at which the smoothed loss falls fastest, before
          its minimum. `None` if it never falls.
        - `valley`: The middle of the longest fall of the smoothed loss. `None` if it
          never falls.
        - `diverged`: The learning rate at which the loss diverged, or `None`.
        - `tenth`: A tenth of `diverged`, or `None`.
        - `plot(path=None)`: Draws the curve and the suggestions; returns a matplotlib
          `Figure`, and saves it if a path is given.

    Raises:
        ValueError: If an argument is out of range, the model is not built or not
            compiled, its optimizer has no single learning rate, the data are empty or
            can be iterated over only once, or the loss diverges at once.

    Example:
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(64, 3)).astype("float32")
    >>> y = x @ np.array([[1.0], [2.0], [3.0]], "float32")
    >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    >>> model.compile(keras.optimizers.SGD(), "mse")
    >>> found = find_learning_rate(model, (x, y), verbose=0)
    >>> found.valley < found.steepest < found.diverged
    True
    """
    if not 0 < start_lr < end_lr < math.inf:
        raise ValueError(
            "`start_lr` must be above 0 and below `end_lr`. "
            f"Received: start_lr={start_lr}, end_lr={end_lr}"
        )
    for name, value, least in (("steps", steps, LEAST), ("batch_size", batch_size, 1)):
        if not isinstance(value, (int, np.integer)) or value < least:
            raise ValueError(
                f"`{name}` must be an integer of at least {least}. "
                f"Received: {name}={value}"
            )
    if not (model.built and model.compiled and model.optimizer):
        raise ValueError(
            "The model must be built and compiled: give it an `Input`, or call it on a "
            f"batch, then `compile` it. Received: model={model}"
        )
    if hasattr(_innermost(model.optimizer), "optimizers"):
        raise ValueError(
            "The optimizer has several learning rates. Use one that scales a single "
            "rate for each layer, such as LayerwiseLearningRate. "
            f"Received: optimizer={model.optimizer}"
        )
    if hasattr(data, "__next__"):
        raise ValueError(
            "`data` can be iterated over only once: make it a list. "
            f"Received: data={data!r:.80}"
        )
    ratio = (end_lr / start_lr) ** (1 / (steps - 1))
    rates, losses, best, diverged = [], [], math.inf, None
    with _left_as_it_was(model), _ramp(model.optimizer, start_lr, ratio) as set_rate:
        batches = _forever(data, batch_size, seed)
        bar = keras.utils.Progbar(
            steps, verbose=verbose, stateful_metrics=["loss", "learning_rate"]
        )
        for step in range(steps):
            rate = set_rate(step)
            logs = model.train_on_batch(*next(batches), return_dict=True)
            loss = float(logs["loss"])
            bad = not math.isfinite(loss)
            if not bad:
                rates.append(rate)
                losses.append(loss)
                latest = np.mean(losses[-LATEST:])
                best = min(best, latest) if len(losses) >= LATEST else best
                limit = max(np.mean(losses[:LEAST]), best + (WORSE - 1) * abs(best))
                bad = step >= LEAST and latest > limit
            numbers = [("loss", loss), ("learning_rate", rate)]
            bar.update(step + 1, numbers, finalize=bad or step + 1 == steps)
            if bad:
                diverged = rate
                break
    if diverged and step <= LEAST:
        raise ValueError(
            f"The loss diverged after {step} steps, too early to suggest a rate. Start "
            f"lower, or check the data for NaN. Received: start_lr={start_lr}"
        )
    return _Found(np.array(rates), np.array(losses), diverged, ratio)


class _Found:
    """The curve of a run, and the learning rates that it suggests."""

    def __init__(self, rates, losses, diverged, ratio):
        self.learning_rates, self.losses, self.diverged = rates, losses, diverged
        weights = _weights(len(losses), ratio)
        # As precise as the losses: a flat one stays flat.
        self.smoothed = (weights @ losses / weights.sum(axis=1)).astype("float32")
        self.tenth = diverged and diverged / 10
        self.steepest = self.valley = None
        if lowest := self.smoothed.argmin():
            slope = np.gradient(self.smoothed)[: lowest + 1]
            self.steepest = float(rates[slope.argmin()])
            first, last = _longest_fall(self.smoothed)
            self.valley = float(np.sqrt(rates[first] * rates[last]))

    def __repr__(self):
        told = {n: vars(self)[n] for n in ("steepest", "valley", "tenth", "diverged")}
        return ", ".join(f"{n}={v and format(v, '.2g')}" for n, v in told.items())

    def plot(self, path=None):
        """Draws the curve and the suggestions; saves the picture if a path is given."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(7, 4), layout="constrained")
        axes = figure.subplots()
        rates = self.learning_rates
        axes.plot(rates, self.losses, ".", color="0.7", label="loss of a batch")
        axes.plot(rates, self.smoothed, color="black", label="smoothed")
        for name, colour, style in (
            ("valley", "#009e73", "--"),
            ("steepest", "#0072b2", "-"),
            ("tenth", "#d55e00", "-."),
        ):
            if (rate := getattr(self, name)) is not None:
                axes.axvline(rate, color=colour, ls=style, label=f"{name}: {rate:.2g}")
        low, high = self.smoothed.min(), self.smoothed[:LEAST].max()
        margin = (high - low) / 4 or 1.0
        axes.set(xscale="log", xlabel="learning rate", ylabel="loss")
        axes.set_ylim(low - margin, high + margin)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
        if path is not None:
            figure.savefig(path, dpi=150)
        return figure


def _weights(count, ratio):
    """Rows of a Gaussian over the decades between the steps: one to smooth each."""
    decades = np.subtract.outer(np.arange(count), np.arange(count)) * math.log10(ratio)
    return np.exp(-((decades / WIDTH) ** 2) / 2)


def _longest_fall(values):
    """Where the longest strictly falling subsequence begins and ends."""
    lengths, begins = np.ones(len(values), int), np.arange(len(values))
    for i, value in enumerate(values):
        above = np.flatnonzero(values[:i] > value)
        if above.size:
            before = above[lengths[above].argmax()]
            lengths[i], begins[i] = lengths[before] + 1, begins[before]
    end = lengths.argmax()
    return begins[end], end


def _forever(data, batch_size, seed):
    """Yields batches `(x, y, sample_weight)`, pass after pass."""

    def array(leaf):
        return leaf if leaf is None or ops.is_tensor(leaf) else np.asarray(leaf)

    one_pass = _passes(data, batch_size, np.random.default_rng(seed))
    while True:
        batch = None
        for batch in one_pass():
            parts = keras.utils.unpack_x_y_sample_weight(batch)
            yield keras.tree.map_structure(array, parts)
        if batch is None:
            raise ValueError(f"`data` has no batches. Received: data={data!r:.80}")


def _passes(data, batch_size, rng):
    """A function that begins a pass over the data."""
    if isinstance(data, keras.utils.PyDataset):
        twin = copy.copy(data)
        for name, value in vars(data).items():
            if isinstance(value, (np.random.Generator, np.random.RandomState)):
                setattr(twin, name, copy.deepcopy(value))
        count = twin.num_batches
        indices = itertools.count if count is None else lambda: range(count)
        return lambda: (twin[i] for i in indices())
    if not isinstance(data, (tuple, dict)) and not hasattr(data, "shape"):
        return lambda: iter(data)
    arrays = keras.tree.map_structure(np.asarray, data)
    lengths = {a.shape[0] if a.ndim else None for a in keras.tree.flatten(arrays)}
    if len(lengths) != 1 or lengths & {0, None}:
        raise ValueError(
            "The arrays must have the same number of examples, at least one. "
            f"Received: shapes={keras.tree.map_structure(np.shape, arrays)}"
        )
    (length,) = lengths
    size = min(batch_size, length)  # all batches are full: one shape to compile

    def one_pass():
        order = rng.permutation(length)
        for first in range(0, length - size + 1, size):
            chosen = order[first : first + size]
            take = functools.partial(np.take, indices=chosen, axis=0)
            yield keras.tree.map_structure(take, arrays)

    return one_pass


def _innermost(optimizer):
    """The optimizer that has the rate, within any that wrap it."""
    inner = getattr(optimizer, "inner_optimizer", getattr(optimizer, "optimizer", None))
    return optimizer if inner is None else _innermost(inner)


class _Ramp(keras.optimizers.schedules.LearningRateSchedule):
    """In place of a schedule, whose optimizer takes no number."""

    def __init__(self, start, ratio, first):
        self.start, self.ratio, self.first = start, ratio, first

    def __call__(self, step):
        steps = ops.cast(step - self.first, "float32")
        return self.start * ops.exp(math.log(self.ratio) * steps)


@contextlib.contextmanager
def _ramp(optimizer, start, ratio):
    """Yields a function that sets the rate of a step, and returns it."""
    inner = _innermost(optimizer)
    own = inner._learning_rate  # not public: a variable, a schedule or a function
    is_variable = isinstance(own, keras.Variable)

    def set_rate(step):
        if is_variable:
            optimizer.learning_rate = start * ratio**step
        return float(ops.convert_to_numpy(optimizer.learning_rate))

    if not is_variable:
        first = int(ops.convert_to_numpy(inner._iterations))
        optimizer.learning_rate = _Ramp(start, ratio, first)
    try:
        yield set_rate
    finally:
        if not is_variable:
            optimizer.learning_rate = own


@contextlib.contextmanager
def _left_as_it_was(model):
    """Restores everything that training changes, whatever happens."""
    optimizer, own = model.optimizer, vars(model)
    if not optimizer.built:
        optimizer.build(model.trainable_variables)
    names = ("train_step", "train_function", "_jax_state", "_jax_state_synced")
    attributes = {name: own[name] for name in names if name in own}
    # If these are not built, `fit` reads a batch and draws random numbers.
    compiled = [model._compile_metrics, model._compile_loss]
    unbuilt = [part for part in compiled if part is not None and not part.built]
    generators = _seed_generators()
    variables = [*model.variables, *optimizer.variables, *model.metrics_variables]
    variables += [generator.state for generator in generators]
    values = [np.array(ops.convert_to_numpy(variable)) for variable in variables]
    set_back = _random_states()
    # A function of its own: JAX takes what it traced for an equal one.
    own["train_step"] = functools.partial(model.train_step)
    own["train_function"] = None
    try:
        yield
    finally:
        for name in names:
            own.pop(name, None)
        own.update(attributes)
        model.reset_metrics()
        for part in unbuilt:
            part.built = False
            part.metrics.clear()
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)
        set_back()
        for generator in _seed_generators():
            if generator not in generators:  # Keras's own, made when first needed
                seed = random.randint(1, int(1e9))
                generator.state.assign([seed, 0])


def _seed_generators():
    # Those of the model, of data pipelines, and Keras's own, which is not public.
    kind = keras.random.SeedGenerator
    return [each for each in gc.get_objects() if issubclass(type(each), kind)]


def _random_states():
    """A function that sets back the random states outside Keras."""
    python, numpy = random.getstate(), np.random.get_state()
    if keras.backend.backend() == "torch":
        import torch

        cpu, cuda = torch.get_rng_state(), torch.cuda.get_rng_state_all()

    def set_back():
        random.setstate(python)
        np.random.set_state(numpy)
        if keras.backend.backend() == "torch":
            torch.set_rng_state(cpu)
            torch.cuda.set_rng_state_all(cuda)

    return set_back
