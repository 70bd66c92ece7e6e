"""A model whose training is a fine-tuning: what a search over fine-tunings tries."""

import functools
from collections.abc import Sequence
from typing import Any, Self

import keras

from hornbook.recipes.callbacks.full_state import FullState
from hornbook.zoo.finetune.as_backbone import as_backbone
from hornbook.zoo.finetune.feature_cache import FeatureCache
from hornbook.zoo.finetune.fine_tune import fine_tune
from hornbook.zoo.finetune.head import build_head
from hornbook.zoo.finetune.trainer import inputs_like


@functools.cache
def feature_cache() -> FeatureCache:
    """The features of frozen backbones, which all trials of a process share."""
    return FeatureCache()


class FineTuning(keras.Model):
    """A classifier whose `fit` is `hornbook.zoo.fine_tune`.

    `FineTuning.of` makes one. A search trains it by its own `fit`, so that a trial does
    what `fine_tune` and `hornbook finetune` do with the same settings, bit for bit.

    Attributes:
        fine_tuning: Dict of the settings of `fine_tune`.
    """

    @classmethod
    def of(cls, backbone: str, settings: dict[str, Any], num_classes: int) -> Self:
        """Puts a new head on a backbone.

        Args:
            backbone: String. An id that `open_backbone` knows.
            settings: Dict of settings of `fine_tune`.
            num_classes: Integer. The number of classes.

        Returns:
            A compiled `FineTuning`.
        """
        opened = as_backbone(backbone)
        head = build_head(opened.model.output_shape[-1], num_classes)
        inputs = inputs_like(opened.model)
        model = cls(inputs, head(opened.model(inputs)), name="classifier")
        model.fine_tuning = {"backbone": backbone, **settings}
        model.opened = (opened,)  # in a tuple, so that Keras saves no part of it twice
        model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
        return model

    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: str | int = 0,
        callbacks: Sequence[keras.callbacks.Callback] = (),
        validation_data: Any = None,
        **more: Any,
    ) -> keras.callbacks.History:
        """Fine-tunes, from the backbone's own weights."""
        settings = {k: v for k, v in self.fine_tuning.items() if k != "backbone"}
        # The state of a trial that was killed is not kept: it is trained again.
        watching = [each for each in callbacks if not isinstance(each, FullState)]
        [opened] = self.opened
        tuned = fine_tune(
            opened,
            (x, y),
            validation_data,
            num_classes=self.output_shape[-1],
            callbacks=watching,
            cache=feature_cache(),
            verbose=0,
            epochs=epochs,
            batch_size=batch_size or 32,
            **settings,
        )
        self.set_weights(tuned.classifier.get_weights())
        history = keras.callbacks.History()
        history.epoch = list(range(len(tuned.history)))
        names = [name for name in tuned.history[0] if name not in ("phase", "epoch")]
        history.history = {name: [row[name] for row in tuned.history] for name in names}
        return history
