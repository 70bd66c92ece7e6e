# SPDX-License-Identifier: Apache-2.0
"""regularize: a penalty on the weights of a model that is already built.

What:    sets the regularizer of a model's kernels, also in nested models; reversible.
When:    fine-tuning a backbone that was built, or loaded, without one.
Not for: weight decay with Adam: use `AdamW` (and `weight_decay_mask`).
Source:  Krogh and Hertz, "A Simple Weight Decay Can Improve Generalization", NIPS 1991.
Needs:   keras>=3.
"""

from collections.abc import Callable

import keras


def regularize(
    model: keras.Layer,
    regularizer: str | keras.Regularizer | None,
    only: str | Callable[[keras.Variable], bool] = "kernels",
) -> Callable[[], None]:
    """Sets the regularizer of a built model's weights, in place of any they have.

    Keras reads a layer's `kernel_regularizer` when it builds the layer, and never
    again: set later, it has no effect, without a warning. From then on only the
    `regularizer` of the variable itself counts, which this function sets.

    - A model that has been trained keeps its optimizer and all state. Only its compiled
      step is made again, which on TensorFlow and JAX would keep the old penalty. This
      also works during `fit`, in a callback. It is done for the model that is passed:
      pass the outermost one, whose `fit` you call, and choose the weights with `only`.
    - Frozen weights get it too, and Keras counts it once they are trainable.
    - It is not saved: a `.keras` file and `clone_model` know the arguments of layers,
      not the attributes of variables. Call `regularize` again on a loaded model.

    Args:
        model: A built `keras.Model` or layer.
        regularizer: A Keras regularizer, its name, or `None` for no penalty. It is
            called on each weight separately.
        only: `"kernels"`, the default, for the weights whose name ends in "kernel",
            also depthwise and recurrent ones, but not biases, embeddings and the
            weights of normalization layers. Or a function from a variable to a bool:
            `lambda v: "head" in v.path`.

    Returns:
        A function without arguments that restores the previous regularizers.

    Raises:
        ValueError: If the model is not built, no weight is chosen, or `only` or
            `regularizer` is none of the above.

    Example:
    >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    >>> undo = regularize(model, keras.regularizers.L2(1e-4))
    >>> len(model.losses)
    1
    >>> undo()
    >>> len(model.losses)
    0
    """
    if only != "kernels" and not callable(only):
        raise ValueError(
            f"`only` must be 'kernels' or a function. Received: only={only}"
        )
    chosen = only if callable(only) else lambda v: v.name.endswith("kernel")
    variables = [variable for variable in model.weights if chosen(variable)]
    if not variables:
        raise ValueError(
            "The model is not built, or `only` chooses none of its "
            f"{len(model.weights)} weights. Received: model={model}, only={only}"
        )
    regularizer = keras.regularizers.get(regularizer)
    before = [variable.regularizer for variable in variables]

    def put(regularizers):
        for variable, each in zip(variables, regularizers, strict=True):
            variable.regularizer = each
        # Compiled steps hold the penalty that was there when they were traced.
        if getattr(model, "train_function", None) is not None:
            model.make_train_function(force=True)
        if getattr(model, "test_function", None) is not None:
            model.make_test_function(force=True)

    def undo():
        put(before)

    put([regularizer] * len(variables))
    return undo
