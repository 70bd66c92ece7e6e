"""One training, from the backbone and the data to a `FineTuned`: see README.md."""

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras

from hornbook.progress import Progress
from hornbook.recipes.inference.recalibrate_batchnorm import recalibrate_batchnorm
from hornbook.zoo.backbones.backbone import Backbone, batchnorms
from hornbook.zoo.finetune import processes
from hornbook.zoo.finetune.batchnorm import held, what_moves
from hornbook.zoo.finetune.callbacks import LossNotFinite, OneTraining, TimeBudget
from hornbook.zoo.finetune.distribution import copy_weights, find_devices, on_devices
from hornbook.zoo.finetune.feature_cache import FeatureCache, extract
from hornbook.zoo.finetune.fine_tuned import FineTuned
from hornbook.zoo.finetune.fit_phase import fit_phase
from hornbook.zoo.finetune.head import build_head
from hornbook.zoo.finetune.inference_model import build_inference_model
from hornbook.zoo.finetune.inputs import Arrays
from hornbook.zoo.finetune.lr_finder import find_rate
from hornbook.zoo.finetune.mixed_precision import computing_in
from hornbook.zoo.finetune.mixing import Mix
from hornbook.zoo.finetune.optimizer import build_optimizer, carry_over, move_to_step
from hornbook.zoo.finetune.strategies import Phase, plan
from hornbook.zoo.finetune.task import weights_by_number
from hornbook.zoo.finetune.training_data import (
    TrainingData,
    takes_pictures,
)
from hornbook.zoo.finetune.views import picture_size

if TYPE_CHECKING:
    from hornbook.zoo.finetune.fine_tune import Settings

FEATURES_AT_ONCE = 1024  # in validation; they are small
FEATURES_AT_MOST = 20_000  # that are cached for the head, where views are random
VIEWS_AT_MOST = 25  # of each example
EPOCHS_OF_A_BUDGET = 100_000  # the time ends them


class Trainer:
    """One call of `fine_tune`.

    Args:
        settings: `Settings` without anything left to the backbone's card.
        backbone: The `Backbone`.
        data: `TrainingData`.
        loss: A Keras loss, or None.
        metrics: Keras metrics, or None.
        callbacks: The user's callbacks.
        cache: As for `fine_tune`.
        progress: A `Progress`.
    """

    def __init__(
        self,
        settings: "Settings",
        backbone: Backbone,
        data: TrainingData,
        loss: Any,
        metrics: Any,
        callbacks: tuple,
        cache: Any,
        progress: Progress,
    ) -> None:
        self.settings, self.data, self.task = settings, data, data.task
        self.loss, self.metrics = loss, metrics
        self.cache, self.progress = cache, progress
        self.backbone, self.pictures = backbone.model, takes_pictures(backbone)
        self.batchnorms = batchnorms(backbone.model)
        whole = settings.batch_size if isinstance(data.train, Arrays) else None
        self.devices = find_devices(settings.devices, whole)
        self.class_weight = weights_by_number(
            settings.class_weight, data.task.classes, data.counts
        )
        self.augment = None if isinstance(settings.augment, str) else settings.augment

        keras.utils.set_random_seed(settings.seed)
        task = data.task
        self.head = build_head(
            backbone.model.output_shape[-1],
            len(task.classes),
            task.activation,
            settings.dropout,
            task.scale,
            task.offset,
        )
        inputs = inputs_like(backbone.model)
        outputs = self.head(backbone.model(inputs))
        classifier = keras.Model(inputs, outputs, name="classifier")
        self.classifier = classifier
        self.groups = {
            path: number
            for number, paths in enumerate(backbone.groups)
            for path in paths
        }
        self.phases = plan(settings, len(backbone.groups))
        self.on_features = cache is not None and self.phases[0].frozen
        self.steps = [data.train.count_steps()] * len(self.phases)
        self.optimizer = None
        self.learning_rate = settings.learning_rate
        self.tuned = FineTuned(
            classifier=classifier,
            model=classifier,
            settings=settings,
            task=task,
            class_counts=data.counts,
            preprocess=backbone.preprocess,
        )
        if settings.log_dir is not None and processes.is_first():
            board = keras.callbacks.TensorBoard(str(settings.log_dir))
            callbacks = (*callbacks, board)
        epochs = sum(phase.epochs for phase in self.phases)
        self.user = OneTraining(callbacks, classifier, epochs)
        notice = what_moves(
            settings, self.phases, len(self.batchnorms), self.on_features
        )
        if notice:
            self.tuned.notices.append(notice)

    def run(self) -> FineTuned:
        """Trains and finishes the model.

        Raises:
            LossNotFinite: if the loss becomes NaN.
        """
        settings, clock = self.settings, time.perf_counter()
        with contextlib.ExitStack() as stack:
            if settings.batchnorm == "frozen":
                stack.enter_context(held(self.batchnorms))
            stack.enter_context(computing_in(self.classifier, settings.mixed_precision))
            self.user.begin()
            try:
                features = self.features() if self.on_features else None
                if self.learning_rate == "auto":
                    self._find_rate(features)
                # The same from here on, however the rate was chosen.
                keras.utils.set_random_seed(settings.seed)
                if features is not None:
                    self._train_head(*features, clock)
                self._train_all(clock)
            except LossNotFinite as error:
                error.classifier = self.classifier
                raise
        self._finish()
        self.user.end(self.tuned.history)
        return self.tuned

    def features(self) -> tuple[Arrays, Any]:
        """What the frozen backbone makes of the examples: to train, to validate on."""
        processes.follow_first(self._variables())
        settings, clock, train = self.settings, time.perf_counter(), self.data.train
        views = settings.cached_views or self._count_views()
        features = self._extract(train, self.augment, views)
        steps = train.count_steps()
        features = Arrays(
            features.x, features.y, features.sample_weight, settings.batch_size, steps
        )
        validation = None
        if self.data.validation is not None:
            known = self._extract(self.data.validation, None, 1)
            validation = Arrays(known.x, known.y, known.sample_weight, FEATURES_AT_ONCE)
            validation = validation.in_order()
        self.tuned.seconds["features"] = time.perf_counter() - clock
        return features, validation

    def _count_views(self):
        if self.data.train.is_varied:
            count = len(self.data.train)
            return min(max(1, FEATURES_AT_MOST // count), VIEWS_AT_MOST)
        return 10 if self.augment is not None else 1

    def _extract(self, source, augment, views):
        seed, progress = self.settings.seed, self.progress
        if self.cache == "memory":
            return extract(self.backbone, source, augment, views, progress, seed)
        cache = self.cache
        cache = cache if isinstance(cache, FeatureCache) else FeatureCache(cache)
        return cache.get(self.backbone, source, augment, views, progress, seed)

    def _find_rate(self, features):
        """The learning rate at which the head's training loss falls fastest."""
        if features is None:
            features = (self._extract(self.data.train, self.augment, 1), None)
        rate = find_rate(
            self.head, self.task, features[0], self.settings, self.progress
        )
        self.learning_rate = self.tuned.learning_rate = rate

    def _train_head(self, features, validation, started):
        """The phase in which the whole backbone is frozen, on its features."""
        model = keras.Model(self.head.inputs, self.head.outputs)
        # On features a step is over so soon that most of it would be Python's part.
        _, steps = self._epochs(0)
        by_batch = self.user.wants_batches or keras.backend.backend() == "torch"
        at_once = 1 if by_batch else steps
        self.optimizer = self._compile(model, at_once=at_once)
        batches = features.batches(self.settings.seed, steps=steps)
        self._run(model, 0, batches, validation, started, by_batch=at_once == 1)

    def _train_all(self, started):
        """The other phases, on the inputs themselves, with one compiled step."""
        processes.follow_first(self._variables())
        first = int(self.on_features)
        if first == len(self.phases):
            return
        settings, task = self.settings, self.task
        model = self.classifier
        if self.augment is not None:
            inputs = inputs_like(self.backbone)
            outputs = self.head(self.backbone(self.augment(inputs)))
            model = keras.Model(inputs, outputs, name="augmented")
        mix = rows = None
        if settings.mixup or settings.cutmix:
            rows = Mix(len(task.classes), task.sparse)
            mix = Mix(len(task.classes), task.sparse, settings.mixup, settings.cutmix)
        with on_devices(model, self.devices) as twin:
            sync = None if twin is model else lambda: copy_weights(twin, model)
            optimizer = self._compile(twin, mix)
            if self.optimizer is not None:
                carry_over(self.optimizer, optimizer)
            for number in range(first, len(self.phases)):
                if self.user.is_stopped:
                    break
                phase = self.phases[number]
                optimizer.multipliers = self._multipliers(phase, twin)
                move_to_step(optimizer, sum(map(self._phase_steps, range(number))))
                _, steps = self._epochs(number)
                batches = self.data.train.batches(settings.seed + number, mix, steps)
                validation = self.data.validation
                if validation is not None:
                    validation = validation.in_order(rows)
                self._run(twin, number, batches, validation, started, sync)

    def _multipliers(self, phase: Phase, model: keras.Model) -> list[float]:
        return [
            phase.backbone[self.groups[variable.path]]
            if variable.path in self.groups
            else phase.head
            for variable in model.trainable_variables
        ]

    def _variables(self):
        """All that training goes on from, in which no process may differ."""
        parts = (self.classifier, self.augment, self.optimizer)
        return [
            variable
            for part in parts
            if part is not None
            for variable in getattr(part, "variables", ())
        ]

    def _compile(self, model, mix=None, at_once=1):
        """Compiles a model; the optimizer, which compiling may wrap for its scale."""
        settings = self.settings
        steps = [self._phase_steps(number) for number in range(len(self.phases))]
        if settings.minutes is not None:
            steps = []
        optimizer = build_optimizer(settings, self.learning_rate, steps)
        compiled = self.task.compiled(settings.label_smoothing, mix is not None)
        if self.loss is not None:
            compiled["loss"] = self.loss
        if self.metrics is not None:
            compiled["metrics"] = list(self.metrics)
        model.compile(
            optimizer,
            **compiled,
            jit_compile=settings.jit_compile,
            steps_per_execution=at_once,
        )
        model.optimizer.build(model.trainable_variables)
        return optimizer

    def _epochs(self, number):
        """How many epochs a phase has, as the history counts, and their steps."""
        steps, every = self.steps[number], self.settings.save_freq
        epochs = self.phases[number].epochs
        return (
            (max(1, round(epochs * steps / every)), every) if every else (epochs, steps)
        )

    def _phase_steps(self, number):
        """How many batches a phase has."""
        epochs, steps = self._epochs(number)
        return epochs * steps

    def _run(
        self,
        model: keras.Model,
        number: int,
        batches: Any,
        validation: Any,
        started: float,
        sync: Callable[[], None] | None = None,
        by_batch: bool = True,
    ) -> None:
        settings, phase, history = (
            self.settings,
            self.phases[number],
            self.tuned.history,
        )
        epochs, steps = self._epochs(number)
        folder = f"{number}-{phase.name.replace(' ', '-')}"
        self.user.done = len(history)
        callbacks = [self.user.phase(number + 1, sync)]
        if settings.minutes is not None:
            epochs = EPOCHS_OF_A_BUDGET
            seconds = self._seconds_left(number, started)
            callbacks.append(
                TimeBudget(self.learning_rate, seconds, settings.warmup_ratio, by_batch)
            )
        state = settings.backup_dir
        if state is not None:
            state = self._find_state(Path(state) / folder, number)
        rows, kept = fit_phase(
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
        first = len(history) + 1
        history += [
            {"phase": phase.name, "epoch": epoch, **row}
            for epoch, row in enumerate(rows, first)
        ]
        if kept:
            self.tuned.kept = kept
        self.tuned.seconds[phase.name] = sum(row["seconds"] for row in rows)

    def _seconds_left(self, number, started):
        """A phase's share, by its epochs, of the time that is left."""
        left = 60 * self.settings.minutes - (time.perf_counter() - started)
        epochs = [phase.epochs for phase in self.phases[number:]]
        return max(1.0, left * epochs[0] / sum(epochs))

    def _find_state(self, folder, number):
        """Where a phase goes on, or None where it is trained anew."""
        if number == 0 and self.on_features:
            return folder if processes.is_first() else None
        latest = folder / "latest"
        told = latest.read_text() if latest.is_file() else None
        processes.require_same({"The state in backup_dir (share it, or copy it)": told})
        return folder

    def _finish(self):
        """The exact statistics, if wanted, and a model that can be evaluated."""
        if self.settings.batchnorm == "recalibrate" and self.batchnorms:
            recalibrate_batchnorm(self.backbone, _Inputs(self.data.train))
        tuned = self.tuned
        if self.pictures:
            crop = self.backbone.input_shape[1]
            size = picture_size(crop) if self.settings.random_crop else crop
            tuned.model = build_inference_model(self.classifier, size, "none", "mean")
        compiled = self.task.compiled()
        if self.loss is not None:
            compiled["loss"] = self.loss
        for model in {
            id(each): each for each in (tuned.model, self.classifier)
        }.values():
            model.compile("sgd", **compiled)  # Keras opens none without an optimizer.
            model.optimizer.build(model.trainable_variables)


class _Inputs:
    """The inputs alone, chunk by chunk, as often as wanted."""

    def __init__(self, source):
        self.source = source

    def __iter__(self):
        return ((x,) for x, _, _ in self.source.chunks(64))


def inputs_like(model: keras.Model) -> Any:
    """New inputs of the same shapes and types."""
    return keras.tree.map_structure(
        lambda each: keras.Input(each.shape[1:], dtype=each.dtype, name=each.name),
        model.input,
    )
