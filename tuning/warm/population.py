"""Several models trained in one compiled step, on JAX: a population.

One small model cannot fill a GPU. Here N trials whose models have the same signature
are N rows of the same arrays: weights, optimizer, seeds and the traced floats are
stacked, and the epoch of a warm trial is mapped over them by `vmap`. Each trial goes on
as it would by itself, with its own model, callbacks and order of examples; only its
epochs are run together with those of other trials. When a trial ends early, the next
one takes its row. Rows without a trial repeat another row, and nothing reads them.

The memory needed is that of N models and their batches. If there is too little, N is
halved.
"""

import operator
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import keras

from hornbook.errors import InputError
from hornbook.resource_errors import is_out_of_memory
from hornbook.tuning.warm.compiled_model import (
    CompiledModel,
    CompiledModelCache,
    Facts,
    all_variables,
)
from hornbook.tuning.warm.epochs import EpochRequest, Logs
from hornbook.tuning.warm.epochs_jax import (
    JaxEpochs,
    request_key,
    state_of,
    variables_of,
)
from hornbook.tuning.warm.model_signature import ModelSignature


class Member:
    """A model of a population, in the place of a `CompiledModel`.

    Args:
        cache: The `PopulationCache`.
        population: The `Population` that the model belongs to.
        signature: The `model_signature` of the model.
        model: A compiled `keras.Model`.
        batch: The first batch of the data.
    """

    def __init__(
        self,
        cache: "PopulationCache",
        population: "Population",
        signature: ModelSignature,
        model: keras.Model,
        batch: Any,
    ) -> None:
        self.cache, self.population, self.signature = cache, population, signature
        self.model, self.batch, self.epochs = model, batch, population.epochs

    def prepare(self, *requests: EpochRequest) -> None:
        """Traces what is not traced yet, and changes the population if that fails."""
        while True:
            self.population.prepare(*requests)
            if self.population.is_compatible(self.signature):
                return
            other, _ = self.cache.find_for(self.signature, self.model, self.batch)
            self.population = other.population

    def recompile(self, *requests: EpochRequest) -> None:
        raise InputError(
            "A callback compiles the step of its model again, but a `population` "
            "shares one step. Leave out the callback or `population`."
        )


class Population(CompiledModel):
    """Models of one signature, whose epochs are compiled for several at once."""

    epochs: "PopulationEpochs"

    def __init__(
        self, model: keras.Model, signature: ModelSignature, facts: Facts
    ) -> None:
        super().__init__(model, signature, facts)
        self.epochs = PopulationEpochs(model)

    def load(self, model: keras.Model, signature: ModelSignature) -> bool:
        """Whether a model can belong to it. The population keeps its own state."""
        floats = self.floats
        held = [(variable, variable.value) for variable in all_variables(self.model)]
        is_compatible = super().load(model, signature)
        self.floats = floats
        for path, value in floats.items():
            self.signature.setters[path](value)
        for variable, value in held:
            variable.assign(value)
        return is_compatible

    def prepare(self, *requests: EpochRequest) -> None:
        known = None
        while known != self.facts.static:
            known = set(self.facts.static)
            super().prepare(*requests)
            self.is_unchanged()  # Before any member is trained by it.

    def run_together(
        self, requests: Sequence[tuple[Member, EpochRequest]]
    ) -> list[Logs]:
        """Runs an epoch of several members.

        Args:
            requests: List of members, each with its epoch. The epochs differ in nothing
                but the order of the examples.

        Returns:
            List of the logs of each member.
        """
        most = self.epochs.most or len(requests)
        answers: list[Logs] = []
        while len(answers) < len(requests):
            part = requests[len(answers) : len(answers) + most]
            try:
                answers += self.epochs.run_together(part)
            except Exception as error:
                self.epochs.stacked.clear()
                if len(part) == 1 or not is_out_of_memory(error):
                    raise
                self.epochs.most = most = len(part) // 2
                self.facts.say(
                    f"{most} models are trained at once, since memory does not suffice "
                    "for more"
                )
        return answers


class PopulationCache(CompiledModelCache):
    """The populations of a search; see `CompiledModelCache`."""

    kind = Population

    def find_for(
        self,
        signature: ModelSignature,
        model: keras.Model,
        batch: Any,
        build_other: Callable[[], keras.Model] | None = None,
    ) -> tuple[Member, bool]:
        population, is_known = super().find_for(signature, model, batch, build_other)
        return Member(self, population, signature, model, batch), is_known

    def drop(self, compiled: Any) -> None:
        is_member = isinstance(compiled, Member)
        super().drop(compiled.population if is_member else compiled)

    def release(self, compiled: Member) -> None:
        if not compiled.population.is_unchanged():
            self.drop(compiled)


class PopulationEpochs(JaxEpochs):
    """Epochs of several models at once.

    Attributes:
        most: Integer, how many models fit in memory; `None` where it is not known.
        stacked: Dict from the indices of a group and a variable to the values that the
            members held after the last run, and the array that they are rows of.
    """

    def __init__(self, model: keras.Model) -> None:
        super().__init__(model)
        self.most: int | None = None
        self.stacked: dict[tuple[int, int], tuple[list[Any], Any]] = {}

    def prepare(self, request: EpochRequest) -> None:
        key = request_key(request)
        if key not in self.compiled:
            kind, data, order, batch_size = request
            epoch = self.make_epoch(kind, batch_size)
            jax.eval_shape(epoch, state_of(self.model, kind), data, order, self.values)
            self.compiled[key] = {}

    def run_together(
        self, requests: Sequence[tuple[Member, EpochRequest]]
    ) -> list[Logs]:
        """As `Population.run_together`, for as many members as fit in memory."""
        members = [member for member, _ in requests]
        request = requests[0][1]
        sizes = self.compiled.setdefault(request_key(request), {})
        # A size that was compiled before, or else the next power of two.
        fitting = [size for size in sizes if size >= len(members)]
        size = min(fitting, default=1 << (len(members) - 1).bit_length())
        rows = list(range(len(members))) + [0] * (size - len(members))

        def stack(items):
            return jnp.stack([items[row] for row in rows])

        orders = stack([jnp.asarray(each.order) for _, each in requests])
        values = {
            path: stack([jnp.asarray(m.signature.floats[path]) for m in members])
            for path in self.values
        }
        # By group, each variable of the model with that variable of all members. Each
        # row has metrics of its own, which start from the same values.
        groups: list[Any] = [variables_of(m.model, request.kind)[:-1] for m in members]
        groups = [list(zip(*group, strict=True)) for group in zip(*groups, strict=True)]
        state = [
            [self._stack((i, j), each, size, stack) for j, each in enumerate(group)]
            for i, group in enumerate(groups)
        ]
        self.model.reset_metrics()
        metrics = [variable.value for variable in self.model.metrics_variables]
        arguments = state, metrics, request.data, orders, values
        if size not in sizes:
            sizes[size] = self._compile(request, len(state), arguments)
        logs, new = sizes[size](*arguments)
        for i, group in enumerate(groups):
            for j, variables in enumerate(group):
                array = new[i][j]
                for variable, value in zip(variables, jnp.unstack(array), strict=False):
                    variable.assign(value)
                held = [variable.value for variable in variables]
                self.stacked[i, j] = held, array
        logs = {name: keras.ops.convert_to_numpy(log) for name, log in logs.items()}
        return [
            {name: float(log[row]) for name, log in logs.items()}
            for row in range(len(members))
        ]

    def _compile(self, request: EpochRequest, groups: int, arguments: Any) -> Any:
        in_axes = (*([0] * groups), None), None, 0, 0
        epoch = jax.vmap(self.make_epoch(request.kind, request.batch_size), in_axes)

        def run_epoch(state, metrics, *rest):
            return epoch((*state, metrics), *rest)

        return jax.jit(run_epoch, donate_argnums=0).lower(*arguments).compile()

    def _stack(
        self,
        key: tuple[int, int],
        variables: Sequence[keras.Variable],
        size: int,
        stack: Callable[[list[Any]], Any],
    ) -> Any:
        """The values of variables, stacked, unless they still are from the last run."""
        values = [variable.value for variable in variables]
        held, array = self.stacked.pop(key, ([], ()))
        is_same = len(held) == len(values) and all(map(operator.is_, held, values))
        return array if is_same and len(array) == size else stack(values)
