"""What a run is asked to do, as it stands in its config.json."""

import dataclasses
import math
from dataclasses import dataclass

from hornbook.errors import InputError

EMBEDDED_DATA = "tfds:hornbook_photo_digits"
VIEWS = ("none", "five", "ten")
AUGMENTS = ("none", "digits", "light", "strong", "imagenet_train")
STRATEGIES = ("probe", "full", "thaw", "gradual", "layer_decay")
BATCHNORM = ("frozen", "update", "recalibrate")
MIXED = ("float16", "bfloat16")
MERGES = ("mean", "mean_logit", "geometric", "vote", "rank")


@dataclass(frozen=True)
class Job:
    """A fine-tuning job.

    Attributes:
        data: "folder:PATH", "csv:FILE", "tfds:NAME" or "npz:FILE".
        backbone: Id of the backbone, such as "glyphnet.letters_rgb".
        labels_per_class: How many labelled examples of each class to use; None for all.
        epochs: Over both phases, at least 2; an epoch has at least 30 batches.
        seed: Chooses the examples and everything random in training.
        rate: Adam's learning rate for the head, or "auto": found on the training
            examples when the run is created.
        backbone_rate: Multiple of it at which everything is trained after the head; 0
            leaves the backbone frozen.
        augment: What else than random crops changes the training pictures: "none", or a
            preset of `ImageAugmentation`.
        views: Crops at test time: "none", "five" or "ten" (with mirror images).
        merge: How their probabilities become one.
        batch_size: Examples in a batch.
        skip_unreadable: Go on without the files that can't be read.
        strategy: What is trained when, as in `Settings`.
        batchnorm: As in `Settings`. None means "update" for the plain job that was
            measured (see `is_plain`), else "frozen".
        label_smoothing: 0 to 1.
        mixed_precision: "float16", "bfloat16" or None.
        devices: How many devices share each batch; of several processes, how many of
            each.
        processes: How many processes train together.

    Raises:
        InputError: if a value makes no sense.
    """

    data: str = EMBEDDED_DATA
    backbone: str = "glyphnet.letters_rgb"
    labels_per_class: int | None = None
    epochs: int = 10
    seed: int = 0
    rate: float | str = 3e-2
    backbone_rate: float = 0.1
    augment: str = "none"
    views: str = "five"
    merge: str = "mean"
    batch_size: int = 32
    skip_unreadable: bool = False
    strategy: str = "thaw"
    batchnorm: str | None = None
    label_smoothing: float = 0.0
    mixed_precision: str | None = None
    devices: int = 1
    processes: int = 1

    def __post_init__(self):
        def require(good, name, what):
            if not good:
                value = getattr(self, name)
                raise InputError(f"{name} must be {what}. Received: {name}={value}")

        require(self.batch_size >= 1, "batch_size", "at least 1")
        require(self.epochs >= 2, "epochs", "at least 2, for two phases")
        few = self.labels_per_class
        require(few is None or few >= 1, "labels_per_class", "at least 1")
        require(self.seed >= 0, "seed", "0 or more")
        rate = self.rate if isinstance(self.rate, (int, float)) else math.nan
        auto = self.rate == "auto"
        require(auto or 0 < rate < math.inf, "rate", "above 0, or auto")
        require(0 <= self.backbone_rate <= 1, "backbone_rate", "between 0 and 1")
        require(self.augment in AUGMENTS, "augment", f"one of {', '.join(AUGMENTS)}")
        require(self.views in VIEWS, "views", f"one of {', '.join(VIEWS)}")
        require(self.merge in MERGES, "merge", f"one of {', '.join(MERGES)}")
        known = ", ".join(STRATEGIES)
        require(self.strategy in STRATEGIES, "strategy", f"one of {known}")
        for name, choices in (("batchnorm", BATCHNORM), ("mixed_precision", MIXED)):
            good = getattr(self, name) in (None, *choices)
            require(good, name, f"one of {', '.join(choices)}")
        smooth = 0 <= self.label_smoothing <= 1
        require(smooth, "label_smoothing", "between 0 and 1")
        require(self.devices >= 1, "devices", "at least 1")
        still = self.strategy == "probe" or self.backbone_rate == 0
        require(
            not still or self.batchnorm in (None, "frozen"),
            "batchnorm",
            "frozen where the backbone is",
        )

    @property
    def is_plain(self):
        """Whether it is the job that was measured on our own backbone.

        Its phases each begin with a fresh Adam, and BatchNormalization learns the new
        statistics: see `train.py` and `model.py`. Anything else is for `fine_tune`.
        """
        return (
            self.backbone.startswith(("glyphnet.", "glyphnet_small."))
            and self.strategy == "thaw"
            and self.batchnorm in (None, "update")
            and not self.label_smoothing
            and self.mixed_precision is None
            and self.devices == self.processes == 1
        )

    @classmethod
    def from_config(cls, config):
        """The job that a run folder's config.json tells of."""
        fields = [field.name for field in dataclasses.fields(cls)]
        late = ("augment", *fields[fields.index("strategy") :])
        # Runs from before these could be chosen have the defaults.
        config = {name: getattr(cls, name) for name in late} | config
        return cls(**{name: config[name] for name in fields})
