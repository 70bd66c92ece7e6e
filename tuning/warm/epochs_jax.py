"""Epochs on JAX: one compiled scan, and a step for the examples that are left over."""

from collections.abc import Callable
from typing import Any

import jax
import keras
from keras import tree

from hornbook.tuning.warm.epochs import EpochRequest, Epochs, Substituted


class JaxEpochs(Epochs):
    """Runs each epoch as one compiled function; a population's are made of them."""

    def __init__(self, model: keras.Model) -> None:
        super().__init__(model)
        self.compiled: dict[Any, Any] = {}

    def trace_with(self, values: dict[str, float], substituted: Substituted) -> None:
        super().trace_with(values, substituted)
        self.compiled = {}

    @staticmethod
    def to_device(array: Any) -> Any:
        return jax.device_put(array)

    def prepare(self, request: EpochRequest) -> None:
        key = request_key(request)
        if key in self.compiled:
            return
        kind, data, order, batch_size = request
        arguments = state_of(self.model, kind), data, order, self.values
        epoch = self.make_epoch(kind, batch_size)
        compiled = jax.jit(epoch, donate_argnums=0).lower(*arguments).compile()
        self.compiled[key] = compiled

    def make_epoch(self, kind: str, batch_size: int) -> Callable[..., Any]:
        """Returns the function of state, data, order and floats that runs an epoch.

        Args:
            kind: "train" or "test".
            batch_size: Integer, the number of examples in a batch.
        """
        step = getattr(self.model, f"{kind}_step")

        def run_epoch(state, data, order, values):
            def body(state, chosen):
                batch = tree.map_structure(lambda x: x[chosen], data)
                logs, state = step(state, batch)
                return state, logs

            with self.substituted(values):
                full, rest = divmod(len(order), batch_size)
                if full:
                    chosen = order[: full * batch_size].reshape(full, batch_size)
                    state, logs = jax.lax.scan(body, state, chosen)
                    logs = tree.map_structure(lambda log: log[-1], logs)
                if rest:
                    state, logs = body(state, order[full * batch_size :])
            return logs, state

        return run_epoch

    def run(self, request: EpochRequest) -> dict[str, Any]:
        self.model.reset_metrics()
        kind, data, order, _ = request
        compiled = self.compiled[request_key(request)]
        state = state_of(self.model, kind)
        logs, state = compiled(state, data, order, self.values)
        for variables, values in zip(
            variables_of(self.model, kind), state, strict=True
        ):
            for variable, value in zip(variables, values, strict=True):
                variable.assign(value)
        return logs


def request_key(request: EpochRequest) -> tuple[Any, ...]:
    """Returns what a compiled epoch depends on, of a request."""
    kind, data, order, batch_size = request
    shapes = [(x.shape, str(x.dtype)) for x in tree.flatten(data)]
    return kind, batch_size, len(order), str(shapes)


def variables_of(model: keras.Model, kind: str) -> list[list[keras.Variable]]:
    """Returns the groups of variables that a step takes on JAX, in order.

    Args:
        model: A compiled model.
        kind: "train" or "test".
    """
    optimizer = [model.optimizer.variables] if kind == "train" else []
    return [
        model.trainable_variables,
        model.non_trainable_variables,
        *optimizer,
        model.metrics_variables,
    ]


def state_of(model: keras.Model, kind: str) -> tuple[list[Any], ...]:
    """Returns the values of `variables_of`."""
    return tuple([v.value for v in group] for group in variables_of(model, kind))
