"""What fine-tuning gives back."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from hornbook.errors import InputError
from hornbook.files import atomic_write
from hornbook.zoo.finetune.inputs import FORMS
from hornbook.zoo.finetune.task import Task, number_names

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from hornbook.zoo.finetune.fine_tune import Settings


@dataclass(repr=False)
class FineTuned:
    """A fine-tuned model, and how it came to be.

    Attributes:
        classifier: `keras.Model` from what the backbone takes to probabilities (or
            numbers, for a regression).
        model: `keras.Model` to use: from raw pictures of any one size, or from the
            inputs as they were given, to the same. It is compiled with loss and
            metric, and saves as a `.keras` file that opens in plain Keras.
        settings: The `Settings` that were used, with what the backbone's card said.
        task: The `Task`: its kind and the classes' names.
        history: One dict an epoch: phase, epoch, loss, accuracy, val_loss, ...
        class_counts: Training examples of each class; empty for regression and streams.
        seconds: How long the features and each phase took.
        learning_rate: The one that "auto" has found, or None.
        kept: Which epoch's weights were kept and why, or an empty string.
        notices: Sentences for the user.
        preprocess: For text: function from a list of strings to what the model takes.
    """

    classifier: keras.Model
    model: keras.Model
    settings: "Settings"
    task: Task
    history: list[dict] = field(default_factory=list)
    class_counts: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    learning_rate: float | None = None
    kept: str = ""
    notices: list[str] = field(default_factory=list)
    preprocess: Callable | None = None

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the outputs."""
        return self.task.classes

    def predict(self, x: Any, batch_size: int = 32) -> np.ndarray:
        """Predicts.

        Args:
            x: As for `fine_tune`: raw pictures, strings for a text backbone, or
                whatever the backbone takes.
            batch_size: Integer.

        Returns:
            Float array `(examples, outputs)`: probabilities, or numbers.
        """
        return self.model.predict(self._prepare(x), batch_size=batch_size, verbose=0)

    def evaluate(self, x: Any, y: Any = None, batch_size: int = 32) -> dict[str, float]:
        """Tests on labelled examples.

        Args:
            x: As for `predict`; or `(x, y)`, or a stream of such batches.
            y: Labels as for `fine_tune`, names too.
            batch_size: Integer. For arrays.

        Returns:
            Dict with "loss" and the metrics.
        """
        if y is None and isinstance(x, (tuple, list)) and len(x) == 2:
            x, y = x
        if y is None:
            if not (hasattr(x, "element_spec") or isinstance(x, keras.utils.PyDataset)):
                raise InputError(f"Data must be {FORMS}. Received: {x!r:.80}")
            return self.model.evaluate(x, verbose=0, return_dict=True)
        if self.task.kind == "classification":
            y, _ = number_names(y, self.task.classes)
        return self.model.evaluate(
            self._prepare(x),
            np.asarray(y),
            batch_size=batch_size,
            verbose=0,
            return_dict=True,
        )

    def plot(self) -> "Figure":
        """Draws loss and metric by epoch: a `matplotlib.figure.Figure`."""
        from hornbook.pages.curves import draw_curves

        return draw_curves(self.history)

    def save(self, path: str | Path) -> None:
        """Saves the model, whole or not at all, as a `.keras` file.

        Raises:
            InputError: if the path has another ending.
        """
        if Path(path).suffix != ".keras":
            raise InputError(f"The file's name must end in .keras. Received: {path}")
        with atomic_write(path) as new:
            self.model.save(new)

    def __repr__(self) -> str:
        """Five lines: what, how long, how good, what was kept, what to do next."""
        last = self.history[-1] if self.history else {}
        epochs: dict[str, int] = {}
        for row in self.history:
            epochs[row["phase"]] = epochs.get(row["phase"], 0) + 1
        phases = ", ".join(f"{name} {count}" for name, count in epochs.items())
        told = ("loss", "accuracy", "mae", "val_loss", "val_accuracy", "val_mae")
        numbers = ", ".join(f"{key} {last[key]:.3g}" for key in told if key in last)
        names = ", ".join(self.class_names[:5])
        more = ", ..." if len(self.class_names) > 5 else ""
        return (
            f"FineTuned: {self.task.kind}, {len(self.class_names)} outputs "
            f"({names}{more})\n"
            f"  trained: {phases} epochs, {sum(self.seconds.values()):.0f} s\n"
            f"  last epoch: {numbers}\n"
            f"  kept: {self.kept or 'the weights after the last epoch.'}\n"
            f"  use: predict(x), evaluate(x, y), plot(), save('model.keras')"
        )

    def _prepare(self, x):
        if self.preprocess is None or isinstance(x, dict):
            return x
        texts = [x] if isinstance(x, str) else list(x)
        if not all(isinstance(text, str) for text in texts):
            raise InputError(
                f"The model takes strings. Received: {type(texts[0]).__name__}"
            )
        tokens = self.preprocess(texts)
        return keras.tree.map_structure(keras.ops.convert_to_numpy, tokens)
