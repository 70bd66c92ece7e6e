"""Small runs on scikit-learn's digits with one fault each, known by construction."""

import keras
import numpy as np
from keras import layers
from sklearn.datasets import load_digits

from hornbook.recipes.callbacks.training_monitor import TrainingMonitor
from hornbook.recipes.diagnosis.layer_probe import LayerProbe
from hornbook.zoo.doctor import diagnose

UNITS, PROBE = 40, 200


def digits(seed):
    """Training and validation set, standardised."""
    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(seed).permutation(len(x))
    x = ((x[order] - x.mean()) / x.std()).astype("float32")
    y = y[order]
    return (x[:1200], y[:1200]), (x[1200:], y[1200:])


def net(activation="relu", norm=False, head=None, logits=True, rate=1e-3):
    """Two hidden layers of 40 units."""
    initializer = "he_normal" if activation == "relu" else "glorot_uniform"
    stack = [keras.Input((64,))]
    for name in ("first", "second"):
        stack.append(layers.Dense(UNITS, kernel_initializer=initializer, name=name))
        if norm:
            stack.append(layers.BatchNormalization(momentum=0.9, name=f"{name}_norm"))
        stack.append(layers.Activation(activation, name=f"{name}_{activation}"))
    model = keras.Sequential([*stack, layers.Dense(10, activation=head, name="head")])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=logits)
    model.compile(keras.optimizers.Adam(rate), loss, metrics=["accuracy"])
    return model


def run(folder, model, train, validation, epochs=10, batch_size=32):
    """Trains, and gives the diagnosis, and the model as it was before."""
    (x, y), every = train, max(1, len(train[0]) // batch_size // 3)
    probe = LayerProbe(x[:PROBE], y[:PROBE])
    monitor = TrainingMonitor(folder, probe, update_freq=every)
    initial = keras.models.clone_model(model)
    initial.set_weights(model.get_weights())
    for old, new in zip(model.layers, initial.layers, strict=True):
        new.trainable = old.trainable
    initial.compile_from_config(model.get_compile_config())
    history = model.fit(
        x,
        y,
        batch_size=batch_size,
        epochs=epochs,
        validation_data=validation,
        callbacks=[monitor],
        verbose=0,
    )
    diagnosis = diagnose(
        initial, (x, y), validation, batch_size, history=history, monitor=monitor.rows
    )
    return diagnosis, initial


def kill(layer, share, seed):
    """Puts a share of a layer's units far on the negative side."""
    units = np.random.default_rng(seed).permutation(UNITS)[: round(UNITS * share)]
    bias = np.array(layer.bias)
    bias[units] = -1000
    layer.bias.assign(bias)


def dead(share):
    def plant(seed):
        train, validation = digits(seed)
        model = net()
        kill(model.get_layer("first"), share, seed)
        return model, train, validation, {}

    return plant


def healthy(seed):
    return (net(), *digits(seed), {})


def healthy_with_norms(seed):
    return (net(norm=True), *digits(seed), {})


def zero_init(seed):
    model = net()
    model.get_layer("second").kernel.assign(np.zeros((UNITS, UNITS)))
    return (model, *digits(seed), {})


def large_rate(seed):
    return (net(rate=0.3), *digits(seed), {})


def small_rate(seed):
    return (net(rate=1e-6), *digits(seed), {})


def saturated_tanh(seed):
    model = net("tanh")
    for name in ("first", "second"):
        kernel = model.get_layer(name).kernel
        kernel.assign(np.array(kernel) * 30)
    return (model, *digits(seed), {})


def shuffled_labels(seed):
    rng = np.random.default_rng(seed)
    (x, y), (xv, yv) = digits(seed)
    return net(), (x, rng.permutation(y)), (xv, rng.permutation(yv)), {}


def duplicated(seed):
    (x, y), (xv, yv) = digits(seed)
    xv[:30], yv[:30] = x[:30], y[:30]
    return net(), (x, y), (xv, yv), {}


def probabilities_as_logits(seed):
    return (net(head="softmax"), *digits(seed), {})


def logits_as_probabilities(seed):
    return (net(logits=False), *digits(seed), {})


def unnormalised(seed):
    (x, y), (xv, yv) = digits(seed)
    return net(), (x * 50 + 100, y), (xv * 50 + 100, yv), {}


def frozen(seed):
    model = net()
    model.get_layer("second").trainable = False
    model.compile(model.optimizer, model.loss, metrics=["accuracy"])
    return (model, *digits(seed), {})


def batches_of_two(seed):
    (x, y), validation = digits(seed)
    return net(norm=True), (x[:240], y[:240]), validation, {"batch_size": 2}


FAULTS = {
    "healthy": (healthy, None),
    "healthy, normalised": (healthy_with_norms, None),
    "20 % dead": (dead(0.2), "dead_relu"),
    "60 % dead": (dead(0.6), "dead_relu"),
    "100 % dead": (dead(1.0), "dead_relu"),
    "zero init": (zero_init, "symmetric_kernel"),
    "too large a rate": (large_rate, "rate_too_large"),
    "too small a rate": (small_rate, "rate_too_small"),
    "saturated tanh": (saturated_tanh, "saturation"),
    "shuffled labels": (shuffled_labels, "shuffled_labels"),
    "duplicated examples": (duplicated, "shared_examples"),
    "probabilities as logits": (probabilities_as_logits, "logits"),
    "logits as probabilities": (logits_as_probabilities, "logits"),
    "unnormalised input": (unnormalised, "unnormalised_input"),
    "frozen by mistake": (frozen, "frozen_in_between"),
    "batches of two": (batches_of_two, "tiny_batch"),
}


def diagnose_planted(name, seed, folder):
    """The diagnosis of a run with a fault, the model before it, and the data."""
    keras.utils.set_random_seed(seed)
    model, train, validation, keywords = FAULTS[name][0](seed)
    return *run(folder, model, train, validation, **keywords), train
