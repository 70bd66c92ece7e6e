"""Warm trials: one compiled epoch serves all trials that differ only in numbers."""

import contextlib

import keras

from hornbook.compat import build_from_batch
from hornbook.tuning.warm.epochs import backend_epochs
from hornbook.tuning.warm.traced_scalar import Number, Refused, read, region

MOST_ENGINES = 8  # Each keeps a model and its graphs in memory.


class Eager:
    """A model whose epochs are not compiled, as on torch.

    Args:
        model: A compiled model whose optimizer is built.
    """

    def __init__(self, model):
        self.model = model
        self.epochs = backend_epochs(model)

    def prepare(self, *requests):
        """Compiles what is not compiled yet.

        Args:
            *requests: Arguments of `run`.
        """

    def recompile(self, *requests):
        """Compiles anew, since a callback has changed the model."""

    def run(self, kind, data, order, batch_size):
        """Runs an epoch.

        Args:
            kind: "train" or "test".
            data: Tensors in the structure of a batch, of `epochs.put`.
            order: Array of int32, the places of the examples in the order of the epoch.
            batch_size: Integer.

        Returns:
            Dict of floats, the logs of the last step.
        """
        logs = self.epochs.run(kind, data, order, batch_size)
        return {name: _to_float(value) for name, value in logs.items()}


class Engine(Eager):
    """A model, and its epochs, compiled for all values of the numbers that vary.

    The first model of a structure is the engine's. Those that come after it only give
    it their state: weights, optimizer, seed generators, floats.

    Args:
        model: A compiled model, freshly built, whose optimizer is built too.
        structure: What `read` found in it.
        facts: `Facts` about models of this structure.
    """

    def __init__(self, model, structure, facts):
        super().__init__(model)
        self.structure, self.facts = structure, facts
        self.floats = dict(structure.floats)
        self.varying = None
        self.worn_key = None
        self.refused = set()

    def load(self, model, structure):
        """Takes over the state of a model; False if it is not such a one after all."""
        if not self.may_serve(structure):
            return False
        for mine, its in zip(
            all_variables(self.model), all_variables(model), strict=True
        ):
            self.epochs.copy(its, mine)
        for path, value in structure.floats.items():
            if value != self.floats[path]:
                self.facts.varying.add(path)
                self.structure.put[path](value)
        self.floats = dict(structure.floats)
        return _config(self.model) == _config(model)

    def may_serve(self, structure):
        """Whether a model differs in nothing that a compiled step has to know."""
        return structure.key == self.structure.key and all(
            structure.floats[path] == self.floats[path] for path in self.facts.fixed
        )

    def prepare(self, *requests):
        while True:
            varying = self.facts.varying - self.facts.fixed
            if varying != self.varying:
                self.varying = varying
                self.epochs.use(self._values(), self._place)
            self.epochs.set_values(self._values())
            try:
                for request in requests:
                    self.epochs.prepare(*request)
                    if self.refused:  # The model caught it, and did without.
                        raise Refused(str(self.refused))
                return
            except Exception:
                if not varying:
                    raise
                # One that says so cannot be a Number; or else any of them might.
                self.facts.fix(self.refused or varying)

    def recompile(self, *requests):
        self.varying, self.worn_key = None, ()
        self.epochs = backend_epochs(self.model)
        self.prepare(*requests)

    def _values(self):
        return {path: self.floats[path] for path in self.varying}

    @contextlib.contextmanager
    def _place(self, tensors):
        self.refused = set()
        put = self.structure.put
        try:
            for path, tensor in tensors.items():
                number = Number(path, tensor, region(self.floats[path]), self.refused)
                put[path](number)
            yield
        finally:
            for path in tensors:
                put[path](self.floats[path])

    def is_sound(self):
        """Whether the model is as it was, but for its state.

        To be asked after each trial. Tracing may have copied a float to where the
        engine cannot set it, and a callback may have changed anything.
        """
        worn = read(self.model)
        suspects = set(worn.left)
        if self.worn_key is None:
            self.worn_key = worn.key
            fresh = self.structure
            late = worn.floats | worn.constants
            late = late.keys() - fresh.floats.keys() - fresh.constants.keys()
            copies = {(worn.floats | worn.constants)[path] for path in late} - {0, 1}
            suspects |= {path for path, v in self.floats.items() if v in copies}
        self.facts.fix(suspects)
        return worn.key == self.worn_key and not suspects


class Facts:
    """What has been learnt about models of one structure.

    Attributes:
        varying: Paths of floats that trials differ in.
        fixed: Paths of floats that a compiled step has to know.
    """

    def __init__(self, say):
        self.varying, self.fixed, self.say = set(), set(), say

    def fix(self, paths):
        """Records that these have to be known."""
        for path in sorted(paths - self.fixed):
            self.say(f"the step is compiled anew for each value of `{path}`")
        self.fixed |= paths


class Engines:
    """The engines of a search, those used last first.

    Args:
        say: Function that tells the user a sentence.
        most: How many to keep; each holds a model and its graphs.
    """

    kind = Engine

    def __init__(self, say, most=MOST_ENGINES):
        self.say, self.most = say, most
        self.engines, self.facts = [], {}

    def find(self, model, batch, build_other=None):
        """The engine for a compiled model, with the model's state in it.

        Args:
            model: A model, freshly built and compiled.
            batch: What an epoch is made of, for a model that is not built yet.
            build_other: Function that builds the model with other hyperparameters, to
                see which floats they set, or None.

        Returns:
            An `Engine`, and whether it has been used before.

        Raises:
            NotWarm: if the model holds what cannot be compared.
        """
        build(model, batch)
        if keras.backend.backend() == "torch":
            return Eager(model), False
        structure = read(model)
        if structure.opaque:
            raise NotWarm(f"`{structure.opaque}` cannot be compared between models")
        return self.find_for(structure, model, batch, build_other)

    def find_for(self, structure, model, batch, build_other=None):
        """As `find`, for a model that was read."""
        for engine in self.engines:
            if engine.load(model, structure):
                self.engines.remove(engine)
                self.engines.insert(0, engine)
                return engine, True
        facts = self.facts.get(structure.key)
        if facts is None:
            facts = self.facts[structure.key] = Facts(self.say)
            if build_other is not None:
                facts.varying |= _differing(structure, batch, build_other)
        engine = self.kind(model, structure, facts)
        if keras.backend.backend() == "jax":
            build_from_batch(model, batch)  # Makes the metrics' variables.
        self.engines = [engine, *self.engines[: self.most - 1]]
        return engine, False

    def drop(self, engine):
        """Forgets an engine."""
        self.engines = [each for each in self.engines if each is not engine]

    def release(self, engine):
        """Keeps an engine for later trials, unless this one has spoilt it."""
        if engine in self.engines and not engine.is_sound():
            self.drop(engine)


class NotWarm(Exception):
    """Why a trial has to be run as a plain `fit`."""


def build(model, batch):
    """Makes the variables of a model and its optimizer exist."""
    if not model.built:
        build_from_batch(model, batch)
    model.optimizer.build(model.trainable_variables)


def _differing(structure, batch, build_other):
    """Paths of the floats that other hyperparameters change."""
    try:
        other = build_other()
        build(other, batch)
        other = read(other)
    except Exception:  # No trial fails for values that nobody proposed.
        return set()
    if other.key != structure.key:
        return set()
    floats = structure.floats.items()
    return {path for path, value in floats if other.floats[path] != value}


def all_variables(model):
    """The variables of a model and its optimizer."""
    return model.variables + model.optimizer.variables


def _config(model):
    try:
        config = model.get_config()
    except NotImplementedError:  # A subclassed model: its attributes tell all.
        config = None
    return config, model.get_compile_config()


def _to_float(value):
    return float(keras.ops.convert_to_numpy(value))
