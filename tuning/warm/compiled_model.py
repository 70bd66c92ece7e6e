"""A model with compiled epochs that serve all trials which differ only in floats."""

import contextlib
from collections.abc import Callable, Hashable, Iterator
from typing import Any

import keras

from hornbook.compat import build_from_batch
from hornbook.tuning.warm.epochs import EpochRequest, Logs, backend_epochs
from hornbook.tuning.warm.model_signature import ModelSignature, model_signature
from hornbook.tuning.warm.plain_fit import NeedsPlainFit
from hornbook.tuning.warm.traced_scalar import (
    ConcretizationError,
    TracedScalar,
    signs,
)

CACHE_SIZE = 8  # Each entry keeps a model and its graphs in memory.


class UncompiledModel:
    """A model whose epochs are not compiled, as on torch.

    Args:
        model: A compiled `keras.Model` whose optimizer is built.
    """

    def __init__(self, model: keras.Model) -> None:
        self.model = model
        self.epochs = backend_epochs(model)

    def prepare(self, *requests: EpochRequest) -> None:
        """Compiles the epochs that are not compiled yet.

        Args:
            *requests: The epochs that will be run.
        """

    def recompile(self, *requests: EpochRequest) -> None:
        """Compiles again, since a callback has changed the model.

        Args:
            *requests: The epochs that will be run.
        """

    def run(self, request: EpochRequest) -> Logs:
        """Runs an epoch.

        Args:
            request: The epoch to run.

        Returns:
            Dict from the name of a metric to a float, the logs of the last step.
        """
        logs = self.epochs.run(request)
        return {name: _to_float(value) for name, value in logs.items()}


class CompiledModel(UncompiledModel):
    """A model whose epochs are compiled for all values of its traced floats.

    The first model of a signature becomes the compiled model. Models with the same
    signature that come later only give it their state: the values of their weights,
    optimizer, seed generators and floats.

    Args:
        model: A compiled `keras.Model`, freshly built, whose optimizer is built, too.
        signature: The `model_signature` of the model.
        facts: `Facts` about models of this signature.
    """

    def __init__(
        self, model: keras.Model, signature: ModelSignature, facts: "Facts"
    ) -> None:
        super().__init__(model)
        self.signature, self.facts = signature, facts
        self.floats = dict(signature.floats)
        self.traced: set[str] | None = None
        self.key_after_training: tuple[Hashable, ...] | None = None
        self.concretized: set[str] = set()

    def load(self, model: keras.Model, signature: ModelSignature) -> bool:
        """Takes over the state of a model.

        Args:
            model: A model, freshly built.
            signature: Its `model_signature`.

        Returns:
            `False` if the two models are incompatible.
        """
        if not self.is_compatible(signature):
            return False
        for mine, its in zip(
            all_variables(self.model), all_variables(model), strict=True
        ):
            self.epochs.copy(its, mine)
        for path, value in signature.floats.items():
            if value != self.floats[path]:
                self.facts.traced.add(path)
                self.signature.setters[path](value)
        self.floats = dict(signature.floats)
        return _config(self.model) == _config(model)

    def is_compatible(self, signature: ModelSignature) -> bool:
        """Whether a model of a signature can be trained by what is compiled here."""
        return signature.key == self.signature.key and all(
            signature.floats[path] == self.floats[path] for path in self.facts.static
        )

    def prepare(self, *requests: EpochRequest) -> None:
        while True:
            traced = self.facts.traced - self.facts.static
            if traced != self.traced:
                self.traced = traced
                self.epochs.trace_with(self._values(), self._substituted)
            self.epochs.set_values(self._values())
            try:
                for request in requests:
                    self.epochs.prepare(request)
                    if self.concretized:  # The model caught the error.
                        raise ConcretizationError(str(self.concretized))
                return
            except Exception:
                if not traced:
                    raise
                # The floats that say so need their value; or else any of them might.
                self.facts.mark_static(self.concretized or traced)

    def recompile(self, *requests: EpochRequest) -> None:
        self.traced, self.key_after_training = None, ()
        self.epochs = backend_epochs(self.model)
        self.prepare(*requests)

    def _values(self) -> dict[str, float]:
        return {path: self.floats[path] for path in self.traced or ()}

    @contextlib.contextmanager
    def _substituted(self, tensors: dict[str, Any]) -> Iterator[None]:
        """Puts `TracedScalar`s in the place of floats, while tracing."""
        self.concretized = set()
        setters = self.signature.setters
        try:
            for path, tensor in tensors.items():
                value_signs = signs(self.floats[path])
                scalar = TracedScalar(path, tensor, value_signs, self.concretized)
                setters[path](scalar)
            yield
        finally:
            for path in tensors:
                setters[path](self.floats[path])

    def is_unchanged(self) -> bool:
        """Whether a training has changed nothing but the state of the model.

        Call it after each trial. Tracing may have copied a float to where it cannot be
        set, and a callback may have changed anything.
        """
        after_training = model_signature(self.model)
        suspects = set(after_training.leftovers)
        if self.key_after_training is None:
            self.key_after_training = after_training.key
            fresh = self.signature
            found = after_training.floats | after_training.constants
            new = found.keys() - fresh.floats.keys() - fresh.constants.keys()
            copies = {found[path] for path in new} - {0, 1}
            suspects |= {path for path, v in self.floats.items() if v in copies}
        self.facts.mark_static(suspects)
        return after_training.key == self.key_after_training and not suspects


class Facts:
    """What is known about the floats of all models of one signature.

    Args:
        say: Function that tells the user a sentence.

    Attributes:
        traced: Set of the paths of floats in which trials differ.
        static: Set of the paths of floats whose values a compiled step has to know.
    """

    def __init__(self, say: Callable[[str], object]) -> None:
        self.traced: set[str] = set()
        self.static: set[str] = set()
        self.say = say

    def mark_static(self, paths: set[str]) -> None:
        """Records that a compiled step has to know the values of some floats.

        Args:
            paths: Set of their paths.
        """
        for path in sorted(paths - self.static):
            self.say(f"the step is compiled again for each value of `{path}`")
        self.static |= paths


class CompiledModelCache:
    """The compiled models of a search, the most recently used first.

    Args:
        say: Function that tells the user a sentence.
        size: Integer, how many to keep. Each holds a model and its graphs.
    """

    kind: type[CompiledModel] = CompiledModel

    def __init__(self, say: Callable[[str], object], size: int = CACHE_SIZE) -> None:
        self.say, self.size = say, size
        self.models: list[Any] = []
        self.facts: dict[tuple[Hashable, ...], Facts] = {}

    def find(
        self,
        model: keras.Model,
        batch: Any,
        build_other: Callable[[], keras.Model] | None = None,
    ) -> tuple[Any, bool]:
        """Finds the compiled model for a model, and gives it the model's state.

        Args:
            model: A `keras.Model`, freshly built and compiled.
            batch: The first batch of the data, to build the model if it is not.
            build_other: Function that builds the model with other hyperparameters, to
                see which floats they set, or `None`.

        Returns:
            A `CompiledModel`, and whether it has been used before.

        Raises:
            NeedsPlainFit: If the model refers to something that cannot be compared.
        """
        build(model, batch)
        if keras.backend.backend() == "torch":
            return UncompiledModel(model), False
        signature = model_signature(model)
        if signature.opaque:
            raise NeedsPlainFit(
                f"`{signature.opaque}` cannot be compared between models"
            )
        return self.find_for(signature, model, batch, build_other)

    def find_for(
        self,
        signature: ModelSignature,
        model: keras.Model,
        batch: Any,
        build_other: Callable[[], keras.Model] | None = None,
    ) -> tuple[Any, bool]:
        """As `find`, for a model whose signature is known."""
        for compiled in self.models:
            if compiled.load(model, signature):
                self.models.remove(compiled)
                self.models.insert(0, compiled)
                return compiled, True
        facts = self.facts.get(signature.key)
        if facts is None:
            facts = self.facts[signature.key] = Facts(self.say)
            if build_other is not None:
                facts.traced |= _differing(signature, batch, build_other)
        compiled = self.kind(model, signature, facts)
        if keras.backend.backend() == "jax":
            build_from_batch(model, batch)  # Makes the metrics' variables.
        self.models = [compiled, *self.models[: self.size - 1]]
        return compiled, False

    def drop(self, compiled: Any) -> None:
        """Removes a compiled model."""
        self.models = [each for each in self.models if each is not compiled]

    def release(self, compiled: Any) -> None:
        """Keeps a compiled model for later trials, unless this one has changed it."""
        if compiled in self.models and not compiled.is_unchanged():
            self.drop(compiled)


def build(model: keras.Model, batch: Any) -> None:
    """Creates the variables of a model and of its optimizer.

    Args:
        model: A compiled `keras.Model`.
        batch: A batch of the data that it is trained on.
    """
    if not model.built:
        build_from_batch(model, batch)
    model.optimizer.build(model.trainable_variables)


def all_variables(model: keras.Model) -> list[keras.Variable]:
    """Returns the variables of a model and of its optimizer."""
    return model.variables + model.optimizer.variables


def _differing(
    signature: ModelSignature, batch: Any, build_other: Callable[[], keras.Model]
) -> set[str]:
    """Paths of the floats that other hyperparameters change."""
    try:
        model = build_other()
        build(model, batch)
        other = model_signature(model)
    except Exception:  # No trial fails because of values that nobody proposed.
        return set()
    if other.key != signature.key:
        return set()
    floats = signature.floats.items()
    return {path for path, value in floats if other.floats[path] != value}


def _config(model: keras.Model) -> tuple[Any, Any]:
    try:
        config = model.get_config()
    except NotImplementedError:  # A subclassed model: its attributes were compared.
        config = None
    return config, model.get_compile_config()


def _to_float(value: Any) -> float:
    return float(keras.ops.convert_to_numpy(value))
