"""Fine-tunes any backbone on any data."""

import contextlib
import dataclasses
import hashlib
import math
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import keras
import numpy as np
from keras import layers

from hornbook.batch_hooks import wants_batches
from hornbook.errors import InputError
from hornbook.progress import Progress
from hornbook.recipes.inference.recalibrate_batchnorm import recalibrate_batchnorm
from hornbook.recipes.optimizers.layerwise_learning_rate import LayerwiseLearningRate
from hornbook.zoo.backbones.backbone import Backbone, batchnorms
from hornbook.zoo.backbones.layer_groups import group_by_kernel
from hornbook.zoo.backbones.open_backbone import open_backbone
from hornbook.zoo.finetune import processes
from hornbook.zoo.finetune import task as tasks
from hornbook.zoo.finetune.batchnorm import held, what_moves
from hornbook.zoo.finetune.distribution import find_devices, on_devices
from hornbook.zoo.finetune.feature_cache import FeatureCache, extract
from hornbook.zoo.finetune.fit_phase import (
    LossNotFinite,
    carry_over,
    move_to_step,
    run_phase,
)
from hornbook.zoo.finetune.head import build_head
from hornbook.zoo.finetune.inputs import Arrays, Mix, as_source
from hornbook.zoo.finetune.mixed_precision import computing_in
from hornbook.zoo.finetune.schedule import CosinePhases
from hornbook.zoo.finetune.settings import Settings
from hornbook.zoo.finetune.strategies import plan

FEATURES_AT_ONCE = 1024  # in validation; they are small


@dataclass
class FineTuned:
    """What fine-tuning gives.

    Attributes:
        model: `keras.Model` from raw inputs to probabilities (or numbers), compiled
            with loss and metric, so that `evaluate` works, and a fresh optimizer.
        history: One dict an epoch: phase, epoch, loss, accuracy, val_loss, ...
        classes: Names of the outputs.
        counts: Examples of each class; empty for regression and for streams.
        seconds: How long the features and each phase took.
        notices: Sentences for the user.
        preprocess: For text: function from a list of strings to what the model takes.
    """

    model: keras.Model
    history: list[dict] = field(default_factory=list)
    classes: tuple[str, ...] = ()
    counts: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)
    preprocess: Callable | None = None


def fine_tune(
    backbone,
    train,
    validation=None,
    *,
    classes=None,
    augment=None,
    cache="memory",
    callbacks=(),
    progress=None,
    **settings,
):
    """Puts a new head on a backbone and trains both.

    Layers are frozen, thawed and slowed by multipliers of the learning rate, so that
    the training step is compiled once and Adam's moments are kept over every thaw.
    As long as the whole backbone is frozen, the head is trained on its features, which
    are computed once.

    Started as the same script on each of several machines, with JAX as Keras's backend
    and the variables that `keras.distribution.initialize` reads
    (`KERAS_DISTRIBUTION_JOB_ADDRESSES`, `..._NUM_PROCESSES`, `..._PROCESS_ID`), the
    processes share each batch, so that `batch_size` is that of all together, and every
    one gets the model and the history that one device would give. The head is trained
    on features by each for itself. Only process 0 writes files and shows progress.

    Args:
        backbone: An id that `open_backbone` knows, a `Backbone`, or any built
            `keras.Model` from inputs to features. It is trained in place.
        train: `(x, y)` or `(x, y, sample_weight)`, or a `tf.data.Dataset` or
            `PyDataset` of batches of these, that ends. `x` is an array (raw pixels 0
            to 255, or strings for a text backbone, whose streams bring tokens),
            anything that can be indexed like one, or a dict of these.
        validation: The same, or None. With it each phase ends early where the loss no
            longer falls, and the best weights are kept.
        classes: The classes' names, or how many. None takes them from the labels.
        augment: A Keras layer that changes inputs at random in training, or None. It
            becomes a part of the model that is trained, not of the one returned.
        cache: Where features of the frozen backbone are kept: "memory", a folder (for
            memory-mapped files that outlive the process) or a `FeatureCache`. None
            keeps none: then the head is trained with the whole backbone before it.
        callbacks: Keras callbacks, for each phase, in every process.
        progress: A `Progress`; silent by default.
        **settings: The fields of `Settings`.

    Returns:
        `FineTuned`.

    Raises:
        InputError: before anything is trained, if something can't be.
        LossNotFinite: if the loss becomes NaN.

    Example:

    >>> rng = np.random.default_rng(0)
    >>> x, y = rng.integers(0, 256, (16, 32, 32, 3), dtype="uint8"), np.arange(16) % 2
    >>> tuned = fine_tune("glyphnet.letters_rgb", (x, y), epochs=2)
    >>> [row["phase"] for row in tuned.history], tuned.counts
    (['head', 'all'], {'0': 8, '1': 8})
    >>> tuned.model.predict(x, verbose=0).shape
    (16, 2)
    """
    settings = Settings.of(settings)
    processes.join()
    if progress is None or not processes.is_first():
        progress = Progress()
    job = _Job(settings, augment, cache, tuple(callbacks), progress)
    with processes.together():
        job.prepare(_as_backbone(backbone), train, validation, classes)
    if processes.count() > 1:
        processes.require_same(job.facts())
    with contextlib.ExitStack() as stack:
        if settings.batchnorm == "frozen":
            stack.enter_context(held(job.batchnorms))
        stack.enter_context(computing_in(job.tuned.model, settings.mixed_precision))
        try:
            job.train_head()
            job.train_all()
        except LossNotFinite as error:
            error.classifier = job.tuned.model
            raise
    return job.finish()


def _as_backbone(given):
    """A `Backbone` from whatever was given, with one feature vector an example."""
    if isinstance(given, (str, Path)):
        given = open_backbone(str(given))
    if isinstance(given, keras.Model):
        if not given.built or not hasattr(given, "input"):
            raise InputError(
                f"The model must be built and have inputs of a known shape. "
                f"Received: {given!r:.80}"
            )
        given = Backbone(given.name, given, group_by_kernel(given), {})
    if not isinstance(given, Backbone):
        raise InputError(
            f"backbone must be an id, a Backbone or a keras.Model. "
            f"Received: {given!r:.80}"
        )
    axes = len(given.model.output_shape)
    if axes == 2:
        return given
    if not 3 <= axes <= 5:
        raise InputError(
            f"The backbone must give features (batch, ..., features). "
            f"Received: {given.model.output_shape}"
        )
    pool = getattr(layers, f"GlobalAveragePooling{axes - 2}D")(name="pool")
    model = given.model
    pooled = keras.Model(model.inputs, pool(model.output), name=f"{model.name}_pooled")
    return dataclasses.replace(given, model=pooled)


class _Job:
    """One call of `fine_tune`."""

    def __init__(self, settings, augment, cache, callbacks, progress):
        self.settings, self.augment, self.cache = settings, augment, cache
        self.callbacks, self.progress = callbacks, progress

    def prepare(self, backbone, train, validation, classes):
        """Checks everything, and builds the models."""
        settings = self.settings
        self.backbone = backbone.model
        self.preprocess = backbone.preprocess
        self.batchnorms = batchnorms(backbone.model)
        self.train, self.validation, self.task = self._read(train, validation, classes)
        whole = isinstance(self.train, Arrays)
        self.devices = find_devices(
            settings.devices, settings.batch_size if whole else None
        )
        counts = {}
        if whole and self.task.kind != "regression":
            counts = tasks.class_counts(self.train.y, self.task)
        self.class_weight = settings.class_weight
        if self.class_weight == "balanced":
            if not counts:
                raise InputError(
                    "A stream can't be balanced; give a dict. Received: "
                    "class_weight='balanced'"
                )
            self.class_weight = tasks.balanced_weights(counts)

        keras.utils.set_random_seed(settings.seed)
        task, width = self.task, backbone.model.output_shape[-1]
        self.head = build_head(
            width, len(task.classes), task.activation, settings.dropout
        )
        inputs = _inputs_like(backbone.model)
        model = keras.Model(inputs, self.head(backbone.model(inputs)), name="tuned")
        self.tuned = FineTuned(
            model,
            classes=task.classes,
            counts=counts,
            preprocess=backbone.preprocess,
        )
        self.groups = {
            path: number
            for number, paths in enumerate(backbone.groups)
            for path in paths
        }
        self.phases = plan(settings, len(backbone.groups))
        self.on_features = self.cache is not None and self.phases[0].frozen
        notice = what_moves(
            settings, self.phases, len(self.batchnorms), self.on_features
        )
        if notice:
            warnings.warn(notice, stacklevel=4)
            self.tuned.notices.append(notice)

    def facts(self):
        """What has to be the same in all processes, for the steps to be."""
        sources = [self.train, self.validation]
        labels = [each.y for each in sources if isinstance(each, Arrays)]
        # Not a stream's first batch once more: its order may hang on how often.
        x, y, _ = self.first or next(self.train.chunks(64))
        digest = hashlib.sha256()
        for part in (*keras.tree.flatten(x), y, *labels):
            digest.update(np.ascontiguousarray(keras.ops.convert_to_numpy(part)))
        told = {
            name: value
            for name, value in vars(self.settings).items()
            if isinstance(value, (int, float, str))
            and name not in ("checkpoint", "tensorboard")
        }
        return {**told, "The data, and their order,": digest.hexdigest()}

    def _read(self, train, validation, classes):
        settings = self.settings
        source = as_source(train, settings.batch_size)
        if settings.checkpoint_every and not isinstance(source, Arrays):
            raise InputError(
                "A stream can be checkpointed after each epoch; for more give Keras's "
                "BackupAndRestore in callbacks. Received: "
                f"checkpoint_every={settings.checkpoint_every}"
            )
        whole = isinstance(source, Arrays)
        self.first = None
        if whole:
            source.y, classes = tasks.number_names(source.y, classes)
            labels = source.y
        else:
            self.first = next(iter(source.chunks(1)))
            labels = self.first[1]
        task = tasks.read_task(settings.task, classes, labels, whole)
        if validation is not None:
            validation = as_source(validation, settings.batch_size)
            if isinstance(validation, Arrays):
                names = classes if settings.task == "classification" else None
                validation.y, _ = tasks.number_names(validation.y, names)
                tasks.read_task(settings.task, task.classes, validation.y, whole=True)
        if self.preprocess is not None:
            for each in (source, validation):
                if isinstance(each, Arrays) and not isinstance(each.x, dict):
                    each.prepare(self.preprocess)
        return source, validation, task

    def train_head(self):
        """The phase in which the whole backbone is frozen, on its features."""
        self.optimizer = None
        processes.follow_first(self._variables())
        if not self.on_features:
            self.lengths = [self.train.count_steps()] * len(self.phases)
            return
        settings, clock = self.settings, time.perf_counter()
        views = settings.views or (10 if self.augment else 1)
        features = self._features(self.train, self.augment, views)
        features = _batched(features, settings.batch_size)
        validation = None
        if self.validation is not None:
            known = self._features(self.validation, None, 1)
            validation = _batched(known, FEATURES_AT_ONCE).in_order()
        self.tuned.seconds["features"] = time.perf_counter() - clock

        steps = math.ceil(len(features) / views / settings.batch_size)
        later = [self.train.count_steps()] * (len(self.phases) - 1)
        self.lengths = [steps, *later]
        model = keras.Model(self.head.inputs, self.head.outputs)
        epochs, steps = self._epochs(0)
        # On features a step is over so soon that most of it would be Python's part.
        by_batch = any(map(wants_batches, self.callbacks))
        self.optimizer = self._compile(model, at_once=1 if by_batch else steps)
        batches = features.batches(settings.seed, steps=steps)
        self._run(model, 0, batches, epochs, steps, validation)

    def _features(self, source, augment, views):
        if self.cache == "memory":
            return extract(self.backbone, source, augment, views, self.progress)
        cache = self.cache
        cache = cache if isinstance(cache, FeatureCache) else FeatureCache(cache)
        return cache.get(self.backbone, source, augment, views, self.progress)

    def train_all(self):
        """The other phases, on the inputs themselves, with one compiled step."""
        processes.follow_first(self._variables())
        first = int(self.on_features)
        if first == len(self.phases):
            return
        settings, task = self.settings, self.task
        model = self.tuned.model
        if self.augment is not None:
            inputs = _inputs_like(self.backbone)
            outputs = self.head(self.backbone(self.augment(inputs)))
            model = keras.Model(inputs, outputs, name="augmented")
        mix = rows = None
        if settings.mixup or settings.cutmix:
            rows = Mix(len(task.classes), task.sparse)
            mix = Mix(len(task.classes), task.sparse, settings.mixup, settings.cutmix)
        with on_devices(model, self.devices) as twin:
            optimizer = self._compile(twin, mix)
            if self.optimizer is not None:
                carry_over(self.optimizer, optimizer)
            for number in range(first, len(self.phases)):
                phase = self.phases[number]
                optimizer.multipliers = [
                    phase.backbone[self.groups[variable.path]]
                    if variable.path in self.groups
                    else phase.head
                    for variable in twin.trainable_variables
                ]
                move_to_step(optimizer, sum(map(self._steps, range(number))))
                epochs, steps = self._epochs(number)
                batches = self.train.batches(settings.seed + number, mix, steps)
                validation = self.validation
                if validation is not None:
                    validation = validation.in_order(rows)
                self._run(twin, number, batches, epochs, steps, validation)

    def _variables(self):
        """All that training goes on from, in which no process may differ."""
        parts = (self.tuned.model, self.augment, self.optimizer)
        return [
            variable
            for part in parts
            if part is not None
            for variable in part.variables
        ]

    def _compile(self, model, mix=None, at_once=1):
        """Compiles a model; the optimizer, which compiling may wrap for its scale."""
        settings, rate = self.settings, self.settings.rate
        if not callable(rate):
            steps = [self._steps(number) for number in range(len(self.phases))]
            rate = CosinePhases(rate, steps, settings.accumulate)
        optimizer = LayerwiseLearningRate(
            keras.optimizers.Adam(
                rate,
                use_ema=settings.ema is not None,
                ema_momentum=settings.ema or 0.99,
                gradient_accumulation_steps=(
                    settings.accumulate if settings.accumulate > 1 else None
                ),
            ),
            multipliers={},
        )
        model.compile(
            optimizer,
            **self.task.compiled(settings.label_smoothing, mix is not None),
            jit_compile=settings.xla,
            steps_per_execution=at_once,
        )
        model.optimizer.build(model.trainable_variables)
        return optimizer

    def _epochs(self, number):
        """How many epochs a phase has, as the history counts, and their steps."""
        steps, every = self.lengths[number], self.settings.checkpoint_every
        epochs = self.phases[number].epochs
        return (
            (max(1, round(epochs * steps / every)), every) if every else (epochs, steps)
        )

    def _steps(self, number):
        """How many batches a phase has."""
        epochs, steps = self._epochs(number)
        return epochs * steps

    def _run(self, model, number, batches, epochs, steps, validation):
        settings, phase = self.settings, self.phases[number]
        folder = f"{number}-{phase.name.replace(' ', '-')}"
        callbacks = list(self.callbacks)
        if settings.tensorboard is not None and processes.is_first():
            logs = Path(settings.tensorboard) / folder
            callbacks.append(keras.callbacks.TensorBoard(str(logs)))
        state = settings.checkpoint
        if state is not None:
            state = self._find_state(Path(state) / folder, number)
        rows = run_phase(
            model,
            phase.name,
            batches,
            epochs=epochs,
            steps=steps,
            progress=self.progress,
            validation=validation,
            patience=settings.patience,
            state=state,
            callbacks=callbacks,
            class_weight=self.class_weight,
        )
        history = self.tuned.history
        first = len(history) + 1
        for epoch, row in enumerate(rows, first):
            history.append({"phase": phase.name, "epoch": epoch, **row})
        self.tuned.seconds[phase.name] = sum(row["seconds"] for row in rows)

    def _find_state(self, folder, number):
        """Where a phase goes on, or None where it is trained anew."""
        if number == 0 and self.on_features:
            return folder if processes.is_first() else None
        latest = folder / "latest"
        told = latest.read_text() if latest.is_file() else None
        processes.require_same({"The state in checkpoint (share it, or copy it)": told})
        return folder

    def finish(self):
        """The exact statistics, if wanted, and a model that can be evaluated."""
        if self.settings.batchnorm == "recalibrate" and self.batchnorms:
            inputs = _Inputs(self.train)
            recalibrate_batchnorm(self.backbone, inputs)
        model = self.tuned.model
        model.compile("sgd", **self.task.compiled())  # Keras opens none without one.
        model.optimizer.build(model.trainable_variables)
        return self.tuned


class _Inputs:
    """The inputs alone, chunk by chunk, as often as wanted."""

    def __init__(self, source):
        self.source = source

    def __iter__(self):
        return ((x,) for x, _, _ in self.source.chunks(64))


def _batched(arrays, size):
    """The same examples, which a cache may share, in batches of a size."""
    return Arrays(arrays.x, arrays.y, arrays.sample_weight, size)


def _inputs_like(model):
    """New inputs of the same shapes and types."""
    return keras.tree.map_structure(
        lambda each: keras.Input(each.shape[1:], dtype=each.dtype, name=each.name),
        model.input,
    )
