"""Trains one arm: the head on cached features, then the whole model."""

import math
import time
from dataclasses import dataclass, field

import keras
import numpy as np

from hornbook.errors import InputError
from hornbook.progress import Progress
from hornbook.recipes.augmentation.image_augmentation import ImageAugmentation
from hornbook.recipes.data.seeded_batches import SeededBatches
from hornbook.recipes.optimizers.find_learning_rate import find_learning_rate
from hornbook.recipes.optimizers.layerwise_learning_rate import LayerwiseLearningRate
from hornbook.zoo.backbones.open_backbone import open_backbone
from hornbook.zoo.backbones.shipped_weights import load_backbone
from hornbook.zoo.data.arrays.crops import centre_crops, crop_places, random_crops
from hornbook.zoo.finetune.fit_phase import LossNotFinite, run_phase
from hornbook.zoo.finetune.head import build_head
from hornbook.zoo.runs.inference_model import build_classifier

STEPS_AT_LEAST = 30  # in an epoch, however few the labels are
FEATURES_AT_MOST = 20_000  # crops whose features are cached for the head
VIEWS_AT_MOST = 25  # of each picture, where they are drawn at random
AT_ONCE = 20 * 256  # crops that are in memory at one time
RATE_FOUND_BY = "find_learning_rate on the head: where its training loss falls fastest"


@dataclass
class Trained:
    """What training an arm gives.

    Attributes:
        classifier: Model from crops to probabilities.
        history: One dict an epoch: phase, epoch, loss, accuracy, ...
        seconds: How long the features and each phase took.
    """

    classifier: keras.Model
    history: list[dict] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)


def make_deterministic(seed):
    """Same seed, same weights, bit for bit, on the same machine."""
    keras.utils.set_random_seed(seed)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()


def build_view(augment, size):
    """A function from `(pictures, rng)` to a random crop of each, perhaps changed.

    Args:
        augment: "none", or a preset of `ImageAugmentation`.
        size: Side of a crop in pixels.
    """
    if augment == "none":
        return lambda images, rng: random_crops(images, rng, size)
    layer = ImageAugmentation.from_preset(augment, height=size, width=size)

    def view(images, rng):
        crops = random_crops(images, rng, size)
        # From this generator, and not the layer's, a resumed run draws the same.
        draws = rng.random((len(crops), layer.DRAWS), dtype="float32")
        return keras.ops.convert_to_numpy(layer(crops, training=True, draws=draws))

    return view


def train_arm(
    arm,
    dataset,
    backbone_id,
    *,
    epochs,
    batch_size,
    seed,
    augment="none",
    state=None,
    progress=None,
):
    """Trains a classifier on a data set by one of the arms.

    Args:
        arm: An `Arm`.
        dataset: A `hornbook.zoo.data.dataset.Dataset`.
        backbone_id: Such as "glyphnet.letters_rgb".
        epochs: Over all phases. An epoch is a pass over the examples, or 30 batches
            where a pass would be shorter.
        batch_size: Examples in a batch.
        seed: For the head's weights, the order, the crops and the dropout.
        augment: As in a `Job`.
        state: Folder to keep the state of training in, so that calling again after a
            kill goes on; None keeps none.
        progress: A `Progress`; silent by default.

    Returns:
        A `Trained`.

    Raises:
        LossNotFinite: if the loss becomes NaN; `state` keeps the last good epoch.
    """
    progress = progress or Progress()
    make_deterministic(seed)
    backbone = load_backbone(backbone_id, weights=arm.pretrained)
    head = build_head(backbone.output_shape[-1], len(dataset.classes))
    trained = Trained(build_classifier(backbone, head))
    view = build_view(augment, backbone.input_shape[1])
    done = 0
    for number, phase in enumerate(arm.phases):
        last = number == len(arm.phases) - 1
        run = epochs - done if last else max(1, round(epochs * phase.share))
        done += run
        job = _Fit(phase, arm.rate, run, batch_size, seed + number, state, progress)
        try:
            if phase.backbone == 0:
                changed = None if augment == "none" else view
                _train_head(job, backbone, head, dataset, changed, trained)
            else:
                _train_all(job, dataset, view, trained)
        except LossNotFinite as error:
            error.classifier = trained.classifier
            raise
    return trained


def rate_curve(dataset, backbone_id, batch_size, seed, progress=None):
    """The head's training loss while the learning rate rises, in one short run.

    Args:
        dataset: A `hornbook.zoo.data.dataset.Dataset`, of which only the training
            examples are looked at.
        backbone_id: Such as "glyphnet.letters_rgb".
        batch_size: Examples in a batch.
        seed: For the head's weights, the order, the crops and the dropout.
        progress: A `Progress`; silent by default.

    Returns:
        What `find_learning_rate` returns.
    """
    progress = progress or Progress()
    make_deterministic(seed)
    backbone = open_backbone(backbone_id).model
    features = cache_features(backbone, dataset.train.images, progress=progress)
    batches = SeededBatches(
        features,
        dataset.train.labels,
        batch_size,
        seed=seed,
        transform=_pick_crop,
        steps=STEPS_AT_LEAST,
    )
    head = build_head(backbone.output_shape[-1], len(dataset.classes))
    head.compile("adam", loss="sparse_categorical_crossentropy")
    with progress.stage("find rate") as update:
        curve = find_learning_rate(head, batches, verbose=0)
        update(len(curve.rates), total=len(curve.rates))
    return curve


def find_rate(dataset, backbone_id, batch_size, seed, progress=None):
    """The rate at which the loss falls fastest in `rate_curve`, to two digits.

    Raises:
        InputError: if it falls at no rate.
    """
    curve = rate_curve(dataset, backbone_id, batch_size, seed, progress)
    if curve.steepest is None:
        raise InputError(
            "The loss falls at no rate, so rate can't be auto; give a number. "
            f"Received: data={dataset.name}"
        )
    return float(f"{curve.steepest:.2g}")


@dataclass(frozen=True)
class _Fit:
    """How to run one phase."""

    phase: object
    rate: float
    epochs: int
    batch_size: int
    seed: int
    state: object
    progress: Progress

    def run(self, model, multipliers, x, y, transform, validation, trained):
        """Trains a model's weights; appends to the history."""
        # A twin that shares the layers is compiled, so that the model which is saved
        # has no optimizer in it and opens in plain Keras.
        model = keras.Model(model.inputs, model.outputs)
        steps = max(STEPS_AT_LEAST, math.ceil(len(x) / self.batch_size))
        batches = SeededBatches(
            x, y, self.batch_size, seed=self.seed, transform=transform, steps=steps
        )
        schedule = keras.optimizers.schedules.CosineDecay(
            self.rate, steps * self.epochs
        )
        model.compile(
            LayerwiseLearningRate(keras.optimizers.Adam(schedule), multipliers),
            loss="sparse_categorical_crossentropy",
            # A metric and an optimizer that have their variables: else TensorFlow
            # traces the first step twice.
            metrics=[keras.metrics.SparseCategoricalAccuracy(name="accuracy")],
            # On features a step is over so soon that most of it would be Python's part.
            steps_per_execution=steps if self.phase.backbone == 0 else 1,
        )
        model.optimizer.build(model.trainable_variables)
        name = self.phase.name
        rows = run_phase(
            model,
            name,
            batches,
            epochs=self.epochs,
            steps=steps,
            progress=self.progress,
            validation=validation,
            state=None if self.state is None else self.state / name,
            validation_batch_size=500,
        )
        first = len(trained.history) + 1
        trained.history += [
            {"phase": name, "epoch": epoch, **row}
            for epoch, row in enumerate(rows, first)
        ]
        trained.seconds[name] = sum(row["seconds"] for row in rows)


def cache_features(backbone, images, at_most=FEATURES_AT_MOST, progress=None):
    """The frozen backbone's features of crops of each picture.

    Args:
        backbone: Model from crops to features.
        images: uint8 array `(examples, height, width, channels)`, square pictures.
        at_most: How many features may be kept: sets how many crops of a picture.
        progress: A `Progress`; silent by default.

    Returns:
        float32 array `(examples, crops, features)`.
    """
    size = backbone.input_shape[1]
    places = crop_places(images.shape[1] - size, max(1, at_most // len(images)))
    features = []
    with (progress or Progress()).stage("features", len(places)) as update:
        for done, (top, left) in enumerate(places, 1):
            rows, columns = slice(top, top + size), slice(left, left + size)
            parts = (
                backbone.predict(
                    images[start : start + AT_ONCE, rows, columns],
                    batch_size=256,
                    verbose=0,
                )
                for start in range(0, len(images), AT_ONCE)
            )
            features.append(np.concatenate(list(parts)))
            update(done)
    return np.stack(features, axis=1)


def cache_views(backbone, images, view, seed, progress=None):
    """The frozen backbone's features of random views of each picture.

    Args:
        backbone: Model from crops to features.
        images: uint8 array `(examples, height, width, channels)`.
        view: As `build_view` gives it.
        seed: For the views.
        progress: A `Progress`; silent by default.

    Returns:
        float32 array `(examples, views, features)`.
    """
    count = min(max(1, FEATURES_AT_MOST // len(images)), VIEWS_AT_MOST)
    features = []
    with (progress or Progress()).stage("features", count) as update:
        for done in range(count):
            rng = np.random.default_rng([seed, done])
            parts = np.array_split(np.arange(len(images)), math.ceil(len(images) / 256))
            crops = np.concatenate([view(images[part], rng) for part in parts])
            features.append(backbone.predict(crops, batch_size=256, verbose=0))
            update(done + 1)
    return np.stack(features, axis=1)


def _pick_crop(features, rng):
    """Features of a random crop of each example."""
    crop = rng.integers(features.shape[1], size=len(features))
    return features[np.arange(len(features)), crop]


def _train_head(job, backbone, head, dataset, view, trained):
    start, images = time.perf_counter(), dataset.train.images
    if view is None:
        features = cache_features(backbone, images, progress=job.progress)
    else:
        features = cache_views(backbone, images, view, job.seed, job.progress)
    trained.seconds["features"] = time.perf_counter() - start
    validation = None
    if dataset.validation is not None:
        centre = cache_features(backbone, dataset.validation.images, at_most=1)
        validation = (centre[:, 0], dataset.validation.labels)
    job.run(
        head,
        {".*": job.phase.head},
        features,
        dataset.train.labels,
        _pick_crop,
        validation,
        trained,
    )


def _train_all(job, dataset, view, trained):
    classifier = trained.classifier
    size = classifier.input_shape[1]
    validation = None
    if dataset.validation is not None:
        centre = centre_crops(dataset.validation.images, size)
        validation = (centre, dataset.validation.labels)
    images = dataset.train.images
    job.run(
        classifier,
        {"^head/": job.phase.head, ".*": job.phase.backbone},
        np.arange(len(images)),  # since they may be on disk
        dataset.train.labels,
        lambda places, rng: view(images[places], rng),
        validation,
        trained,
    )
