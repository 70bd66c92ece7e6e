"""Trials side by side in one compiled step, on JAX: a population of models.

One small model cannot fill a GPU. Here N trials of one structure are N rows of the
same arrays: weights, optimizer, seeds and the numbers that vary are stacked, and the
epoch of a warm trial is mapped over them by `vmap`. Each trial goes on as it would by
itself, with its own model, callbacks and order of examples; only its epochs are run
together with those of the others that wait for one. A trial that ends early, by
`EarlyStopping` or by pruning, gives its row to the next trial. Rows without a trial
are masked: they repeat another row, and nothing reads them.

Memory is that of N models and their batches. If it is not enough, N is halved.
"""

import functools
import operator

import keras

from hornbook.errors import InputError
from hornbook.resource_errors import is_out_of_memory
from hornbook.tuning.warm.compiled_model import Engine, Engines, all_variables
from hornbook.tuning.warm.epochs import JaxEpochs, variables_of


def check_population(size):
    """Raises `InputError` unless so many trials can be trained at once."""
    if not isinstance(size, int) or isinstance(size, bool) or size < 1:
        raise InputError(f"`population` must be at least 1. Received: {size!r}")
    backend = keras.backend.backend()
    if backend != "jax":
        raise InputError(
            "`population` needs the JAX backend: set KERAS_BACKEND=jax, or leave it "
            f"out. Received: population={size} on {backend}"
        )


def search(tuner, size, args, kwargs):
    """Searches as `keras_tuner.Tuner.search` does, with trials side by side.

    Args:
        tuner: A `Tuner` that holds its project folder.
        size: How many trials at once.
        args: For `fit`.
        kwargs: For `fit`.
    """
    if "verbose" in kwargs:
        tuner.oracle.verbose = kwargs["verbose"]
    kwargs = kwargs | {"verbose": 0}  # Progress bars of several would mix.
    tuner.on_search_begin()
    places = {}
    while True:
        for place in sorted(set(range(size)) - places.keys()):
            tuner.pre_create_trial()
            trial = tuner.oracle.create_trial(f"place{place}")
            if trial.status != "RUNNING":  # None left, or it waits for others.
                break
            tuner.on_trial_begin(trial)
            places[place] = _Trial(tuner, trial, args, kwargs)
        if not places:
            break
        for place, each in list(places.items()):
            if each.outcome is not None:
                del places[place]
                tuner.finish_trial(each.trial, each.outcome)
        if places:
            _run_together(list(places.values()))
    tuner.on_search_end()


class _Trial:
    """A trial, up to where it waits for an epoch.

    Attributes:
        request: The member and the arguments of the epoch that it waits for.
        outcome: Function that returns its record, or raises; None while it runs.
    """

    def __init__(self, tuner, trial, args, kwargs):
        self.trial, self.outcome = trial, None
        self.steps = tuner.runner.steps(
            trial.trial_id,
            trial.hyperparameters,
            tuner.get_trial_dir(trial.trial_id),
            args,
            {name: value for name, value in kwargs.items() if name != "groups"},
            groups=kwargs.get("groups"),
            prepare=functools.partial(tuner._prepare_callbacks, trial),
            earlier=tuner._earlier_curves(),
        )
        self.go_on(functools.partial(next, self.steps))

    def go_on(self, advance):
        """Runs to the next epoch, by a function that advances the steps."""
        try:
            self.request = advance()
        except StopIteration as end:
            self.outcome = functools.partial(_give, end.value)
        except Exception as error:
            self.outcome = functools.partial(_throw, error)


def _give(value):
    return value


def _throw(error):
    raise error


def _run_together(trials):
    """Runs an epoch of all that wait for the same as the first does."""
    member, request = trials[0].request
    crowd, kind = member.crowd, _kind_of(request)
    alike = [
        each
        for each in trials
        if each.request[0].crowd is crowd and _kind_of(each.request[1]) == kind
    ]
    try:
        answers = crowd.run([each.request for each in alike])
    except Exception as error:
        for each in alike:
            each.go_on(functools.partial(each.steps.throw, error))
        return
    for each, logs in zip(alike, answers, strict=True):
        each.go_on(functools.partial(each.steps.send, logs))


def _kind_of(request):
    kind, data, order, batch_size = request
    leaves = keras.tree.flatten(data)
    return kind, len(order), batch_size, tuple(map(id, leaves))


class Member:
    """A model of a population, in an engine's place.

    Args:
        crowds: `Crowds`.
        crowd: The `Crowd` it belongs to.
        structure: What `read` found in the model.
        model: The model.
        batch: What an epoch of it is made of.
    """

    def __init__(self, crowds, crowd, structure, model, batch):
        self.crowds, self.crowd, self.structure = crowds, crowd, structure
        self.model, self.batch, self.epochs = model, batch, crowd.epochs

    def prepare(self, *requests):
        """Traces what is not traced yet, and changes the crowd if that fails."""
        while True:
            self.crowd.prepare(*requests)
            if self.crowd.may_serve(self.structure):
                return
            other, _ = self.crowds.find_for(self.structure, self.model, self.batch)
            self.crowd = other.crowd

    def recompile(self, *requests):
        raise InputError(
            "A callback makes the step of its model anew, which a `population` shares. "
            "Leave the callback or `population` out."
        )


class Crowd(Engine):
    """Models of one structure, whose epochs are compiled for several at once."""

    def __init__(self, model, structure, facts):
        super().__init__(model, structure, facts)
        self.epochs = _Epochs(model)

    def load(self, model, structure):
        """Whether it serves a model. Its own keeps its state."""
        floats = self.floats
        held = [(variable, variable.value) for variable in all_variables(self.model)]
        is_served = super().load(model, structure)
        self.floats = floats
        for path, value in floats.items():
            self.structure.put[path](value)
        for variable, value in held:
            variable.assign(value)
        return is_served

    def prepare(self, *requests):
        known = None
        while known != self.facts.fixed:
            known = set(self.facts.fixed)
            super().prepare(*requests)
            self.is_sound()  # Before any member is trained by it.

    def run(self, requests):
        """Runs an epoch of several members.

        Args:
            requests: List of members with the arguments of the epoch, which differ in
                the order of the examples only.

        Returns:
            List of their logs.
        """
        most = self.epochs.most or len(requests)
        answers = []
        while len(answers) < len(requests):
            part = requests[len(answers) : len(answers) + most]
            try:
                answers += self.epochs.run_several(part)
            except Exception as error:
                self.epochs.stacked.clear()
                if len(part) == 1 or not is_out_of_memory(error):
                    raise
                self.epochs.most = most = len(part) // 2
                self.facts.say(f"{most} models at once, since more do not fit")
        return answers


class Crowds(Engines):
    """The crowds of a search; see `Engines`."""

    kind = Crowd

    def find_for(self, structure, model, batch, build_other=None):
        crowd, is_known = super().find_for(structure, model, batch, build_other)
        return Member(self, crowd, structure, model, batch), is_known

    def drop(self, engine):
        super().drop(engine.crowd)

    def release(self, engine):
        if not engine.crowd.is_sound():
            self.drop(engine)


class _Epochs(JaxEpochs):
    """Epochs of several models at once.

    Attributes:
        most: How many fit in memory; None where it is not known.
    """

    def __init__(self, model):
        super().__init__(model)
        self.most, self.stacked = None, {}

    def prepare(self, kind, data, order, batch_size):
        import jax

        key = self._key(kind, data, order, batch_size)
        if key not in self.compiled:
            epoch = self.make_epoch(kind, batch_size)
            jax.eval_shape(epoch, self._state(kind), data, order, self.values)
            self.compiled[key] = {}

    def run_several(self, requests):
        """As `Crowd.run`."""
        import jax
        import jax.numpy as jnp

        members = [member for member, _ in requests]
        kind, data, order, batch_size = requests[0][1]
        key = self._key(kind, data, order, batch_size)
        sizes = self.compiled.setdefault(key, {})
        # A size that was compiled, or else the next power of two.
        fitting = [size for size in sizes if size >= len(members)]
        size = min(fitting, default=1 << (len(members) - 1).bit_length())
        rows = list(range(len(members))) + [0] * (size - len(members))

        def stack(items):
            return jnp.stack([items[row] for row in rows])

        orders = stack([jnp.asarray(request[2]) for _, request in requests])
        values = {
            path: stack([jnp.asarray(each.structure.floats[path]) for each in members])
            for path in self.values
        }
        # Of each variable, by group, what the members have of it. (Not of metrics.)
        groups = [variables_of(each.model, kind)[:-1] for each in members]
        groups = [list(zip(*group, strict=True)) for group in zip(*groups, strict=True)]
        state = [
            [self._stack((i, j), each, size, stack) for j, each in enumerate(group)]
            for i, group in enumerate(groups)
        ]
        self.model.reset_metrics()
        metrics = [variable.value for variable in self.model.metrics_variables]
        arguments = state, metrics, data, orders, values
        if size not in sizes:
            in_axes = (*(0 for _ in state), None), None, 0, 0
            epoch = jax.vmap(self.make_epoch(kind, batch_size), in_axes)

            def run_epoch(state, metrics, *rest):
                return epoch((*state, metrics), *rest)

            sizes[size] = (
                jax.jit(run_epoch, donate_argnums=0).lower(*arguments).compile()
            )
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

    def _stack(self, place, variables, size, stack):
        """The values of variables, stacked, unless they still are from the last run."""
        values = [variable.value for variable in variables]
        held, array = self.stacked.pop(place, ([], ()))
        is_same = len(held) == len(values) and all(map(operator.is_, held, values))
        return array if is_same and len(array) == size else stack(values)
