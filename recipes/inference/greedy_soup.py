# SPDX-License-Identifier: Apache-2.0
"""greedy_soup: average the weights of fine-tuned models while validation improves.

What:    adds one model after another to an average of weights, best first, and keeps
         each that does not lower the score.
When:    several models were fine-tuned from the same weights: the cost of one model at
         test time, and often better than the best of them.
Not for: models trained from different initial weights, whose average is useless (an
         `Ensemble` works with any).
Source:  Wortsman et al., "Model soups: averaging weights of multiple fine-tuned models
         improves accuracy without increasing inference time", ICML 2022, recipe 1.
Differs: a hook can recompute BatchNormalization's statistics before each score.
Needs:   keras>=3.12.
"""

import math
import re
import typing
from collections.abc import Callable, Iterable

import keras


class _Soup(typing.NamedTuple):
    model: keras.Model
    kept: list
    score: float
    scores: list


def greedy_soup(
    models: Iterable[keras.Model],
    score: Callable[[keras.Model], float],
    recalibrate: Callable[[keras.Model], object] | None = None,
) -> _Soup:
    """Averages the weights of models, greedily by their score.

    Models are ordered by their own score, equal ones as they were given. The soup
    starts with the best. Each further model stays in it if the score of the average is
    then at least as high as before, so the soup never scores below the best model.

    Sums are in float64, so the soup of equal models is that model, bit for bit.
    Weights that are not floats are taken from the best model. Of the models only the
    weights are read, and they are not changed: all scores are those of one copy, which
    in the end holds the soup.

    Use validation data for the score, since the choice is fitted to them.

    Args:
        models: Iterable of built `keras.Model`s of one architecture that can be cloned.
            A custom loss in them must be registered with Keras.
        score: Function from a model to a number, higher is better, such as
            `lambda model: model.evaluate(x, y, return_dict=True)["accuracy"]`. If the
            first model is compiled, so is the model that it gets.
        recalibrate: Function of a model that is called on each average of two or more
            models before it is scored. For BatchNormalization, whose statistics are
            not those of an average: `lambda model: recalibrate_batchnorm(model,
            x_train)`. Defaults to `None`.

    Returns:
        A named tuple of

        - `model`: A new model, the soup.
        - `kept`: Indices of the models in it, in the order in which they were added.
        - `score`: The score of the soup.
        - `scores`: The scores of the models, in the order of `models`.

    Raises:
        ValueError: If there is no model, one is not built, their weights differ in
            name, shape or type, or a model's score is not finite.

    Example:
    >>> def constant(value):
    ...     return keras.Sequential(
    ...         [
    ...             keras.Input((1,)),
    ...             keras.layers.Dense(
    ...                 1, kernel_initializer=keras.initializers.Constant(value)
    ...             ),
    ...         ]
    ...     )
    >>> def score(model):  # best at 2
    ...     return -abs(float(model.get_weights()[0][0, 0]) - 2)
    >>> soup = greedy_soup([constant(1.0), constant(2.5), constant(9.0)], score)
    >>> soup.kept, soup.score, soup.scores
    ([1, 0], -0.25, [-1.0, -0.5, -7.0])
    >>> soup.model.get_weights()[0]
    array([[1.75]], dtype=float32)
    """
    models = list(models)
    _check_architectures(models)
    soup = _copy(models[0])

    def taste(weights, recalibrate=None):
        soup.set_weights(weights)
        if recalibrate is not None:
            recalibrate(soup)
        return float(score(soup))

    scores = []
    for index, model in enumerate(models):
        scores.append(taste(model.get_weights()))
        if not math.isfinite(scores[-1]):
            raise ValueError(
                "`score` must return a finite number, but "
                f"models[{index}], {model.name!r}, may have diverged: leave it out. "
                f"Received: score={scores[-1]}"
            )
    first, *others = sorted(range(len(models)), key=lambda i: -scores[i])
    kept, best = [first], scores[first]
    weights = models[first].get_weights()
    total = [w.astype("float64") if _is_float(w) else w for w in weights]
    for index in others:
        added = models[index].get_weights()
        pairs = list(zip(total, added, strict=True))
        larger = [t + w if _is_float(t) else t for t, w in pairs]
        mean = [t / (len(kept) + 1) if _is_float(t) else t for t in larger]
        mixed = taste(mean, recalibrate)
        if mixed >= best:
            kept.append(index)
            best, total, weights = mixed, larger, soup.get_weights()
    soup.set_weights(weights)
    return _Soup(soup, kept, best, scores)


def _is_float(array):
    # By Keras: NumPy does not count bfloat16 as a float.
    return keras.backend.is_float_dtype(array.dtype.name)


def _check_architectures(models):
    if not models:
        raise ValueError("`models` must not be empty. Received: models=[]")
    for model in models:
        if not model.built:
            raise ValueError(
                "Models must be built: call each on a batch. "
                f"Received: a model that is not, {model.name!r}"
            )
    for index, model in enumerate(models[1:], 1):
        if len(model.weights) != len(models[0].weights):
            raise ValueError(
                "Models must be of one architecture. "
                f"Received: models[{index}], {model.name!r}, with "
                f"{len(model.weights)} weights, where models[0], {models[0].name!r}, "
                f"has {len(models[0].weights)}"
            )
        for here, there in zip(model.weights, models[0].weights, strict=True):
            if _kind(here) != _kind(there):
                raise ValueError(
                    "Models must be of one architecture. "
                    f"Received: models[{index}] with {here.path!r}, {_kind(here)}, "
                    f"where models[0] has {there.path!r}, {_kind(there)}"
                )


def _kind(weight):
    # Paths hold the names of layers, which are numbered through the process.
    return re.sub(r"_\d+$", "", weight.name), tuple(weight.shape), weight.dtype


def _copy(model):
    """A model of the same architecture, compiled in the same way."""
    copy = keras.models.clone_model(model)
    if not copy.built:
        copy.build_from_config(model.get_build_config())
    if model.compiled:
        copy.compile_from_config(model.get_compile_config())
    return copy
