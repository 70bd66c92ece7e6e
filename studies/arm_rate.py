"""The learning rate of a way to fine-tune, searched with keras-tuner."""

from dataclasses import replace

import keras
import keras_tuner
import numpy as np

from hornbook.zoo.data.arrays.crops import centre_crops
from hornbook.zoo.finetune.train import train_arm


class ArmRate(keras_tuner.GridSearch):
    """Searches the rate at which an arm does best on examples it was not trained on.

    A trial trains the arm with one rate on each of several draws of few labels, and
    scores the mean accuracy on the development examples of each draw. The test set is
    not read. Trials that are done are kept in the project folder and not run again.

    Args:
        arm: A `hornbook.zoo.finetune.arms.Arm`; its own rate is not used.
        draws: List of `(seed, dataset)`, where the data set's test split holds the
            development examples.
        rates: The rates to try.
        backbone: Id of the backbone.
        epochs: As for `train_arm`.
        **kwargs: For `keras_tuner.GridSearch`: `directory`, `project_name`, ...

    Example:

    ```python
    search = ArmRate(ARMS["thaw"], draws, [1e-2, 3e-2], "glyphnet.letters_rgb")
    search.search()
    search.get_best_hyperparameters()[0]["rate"]
    ```
    """

    def __init__(self, arm, draws, rates, backbone, epochs=10, **kwargs):
        self.arm, self.draws = arm, draws
        self.backbone, self.epochs = backbone, epochs
        space = keras_tuner.HyperParameters()
        space.Choice("rate", [float(rate) for rate in rates])
        objective = keras_tuner.Objective("accuracy", "max")
        super().__init__(hyperparameters=space, objective=objective, **kwargs)

    def run_trial(self, trial):
        """Trains on each draw; returns the mean accuracy."""
        arm = replace(self.arm, rate=trial.hyperparameters["rate"])
        return {"accuracy": float(np.mean([self._score(arm, *d) for d in self.draws]))}

    def _score(self, arm, seed, dataset):
        trained = train_arm(
            arm, dataset, self.backbone, epochs=self.epochs, batch_size=32, seed=seed
        )
        size = trained.classifier.input_shape[1]
        crops = centre_crops(dataset.test.images, size)
        guesses = trained.classifier.predict(crops, batch_size=250, verbose=0)
        keras.utils.clear_session()  # else the graphs of all trials stay in memory
        return (guesses.argmax(axis=1) == dataset.test.labels).mean()
