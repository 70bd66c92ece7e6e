"""The learning rate of a way to fine-tune, searched with keras-tuner."""

import keras
import keras_tuner
import numpy as np

from hornbook.zoo.data.arrays.crops import centre_crops
from hornbook.zoo.runs.compare import train_arm


class ArmRate(keras_tuner.GridSearch):
    """Searches the rate at which an arm does best on examples it was not trained on.

    A trial trains the arm with one rate on each of several draws of few labels, and
    scores the mean accuracy on the development examples of each draw. The test set is
    not read. Trials that are done are kept in the project folder and not run again.

    Args:
        arm: A key of `hornbook.zoo.runs.compare.ARMS`; its own rate is not used.
        draws: List of `(config, dataset)`: a `RunConfig` with its seed, and a data set
            whose test split holds the development examples.
        rates: The rates to try.
        **kwargs: For `keras_tuner.GridSearch`: `directory`, `project_name`, ...

    Example:

    ```python
    search = ArmRate("head_then_all", draws, [1e-2, 3e-2])
    search.search()
    search.get_best_hyperparameters()[0]["learning_rate"]
    ```
    """

    def __init__(self, arm, draws, rates, **kwargs):
        self.arm, self.draws = arm, draws
        space = keras_tuner.HyperParameters()
        space.Choice("learning_rate", [float(rate) for rate in rates])
        objective = keras_tuner.Objective("accuracy", "max")
        super().__init__(hyperparameters=space, objective=objective, **kwargs)

    def run_trial(self, trial):
        """Trains on each draw; returns the mean accuracy."""
        rate = trial.hyperparameters["learning_rate"]
        scores = [development_accuracy(self.arm, *each, rate) for each in self.draws]
        return {"accuracy": float(np.mean(scores))}


def development_accuracy(arm, config, dataset, learning_rate):
    """The accuracy of an arm on a data set's test split, 0 to 1."""
    trained = train_arm(config, arm, dataset, learning_rate=learning_rate)
    crops = centre_crops(dataset.test.images, trained.classifier.input_shape[1])
    guesses = trained.classifier.predict(crops, batch_size=250, verbose=0)
    keras.utils.clear_session()  # else the graphs of all trials stay in memory
    return (guesses.argmax(axis=1) == dataset.test.labels).mean()
