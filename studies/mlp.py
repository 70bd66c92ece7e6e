"""A dense net in NumPy, for studies of many small runs.

A Keras net takes a second to compile, more than most runs here last. And what goes
forward and back is at hand layer by layer, in the notes' symbols: `a` before the
nonlinearity, `o` after it, `deltas` the loss's gradient by `a`.
"""

import itertools

import numpy as np
from scipy.special import expit, log_softmax
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

LEAK = 0.1
ACTIVATIONS = {  # the function, and its slope from a and o
    "sigmoid": (expit, lambda a, o: o * (1 - o)),
    "tanh": (np.tanh, lambda a, o: 1 - o**2),
    "relu": (lambda a: np.maximum(a, 0), lambda a, o: a > 0),
    "leaky": (
        lambda a: np.where(a > 0, a, LEAK * a),
        lambda a, o: np.where(a > 0, 1, LEAK),
    ),
    "elu": (
        lambda a: np.where(a > 0, a, np.expm1(np.minimum(a, 0))),
        lambda a, o: np.where(a > 0, 1, o + 1),
    ),
}


class MLP:
    """Dense layers of one nonlinearity, and a softmax with cross-entropy.

    Args:
        sizes: Inputs, hidden units layer by layer, classes.
        activation: A name in `ACTIVATIONS`.
        rng: Draws the kernels: normal, of variance `gain² / fan in`.
        gain: Number; √2 is Kaiming's.

    Attributes:
        w: All weights as one vector; `kernels` and `biases` are views of it.
        deltas: Of the last call of `gradient`, by layer.
    """

    def __init__(self, sizes, activation="relu", rng=None, gain=2**0.5):
        self.activate, self.slope = ACTIVATIONS[activation]
        self.sizes = tuple(sizes)
        pairs = list(itertools.pairwise(sizes))
        self.w = np.zeros(sum((n + 1) * m for n, m in pairs))
        self.kernels, self.biases = self.views(self.w)
        if rng is not None:
            for kernel in self.kernels:
                kernel[:] = rng.normal(0, gain / len(kernel) ** 0.5, kernel.shape)

    def views(self, vector):
        """Kernels and biases within a vector that is laid out as `w` is."""
        kernels, biases, place = [], [], 0
        for n, m in itertools.pairwise(self.sizes):
            kernels.append(vector[place : place + n * m].reshape(n, m))
            place += n * m
            biases.append(vector[place : place + m])
            place += m
        return kernels, biases

    def forward(self, x, masks=None):
        """All `a`, and all `o` from the inputs on; `masks` multiply the hidden `o`."""
        a, o = [], [x]
        for layer, (kernel, bias) in enumerate(
            zip(self.kernels, self.biases, strict=True)
        ):
            a.append(o[-1] @ kernel + bias)
            if layer < len(self.kernels) - 1:
                out = self.activate(a[-1])
                o.append(out if masks is None else out * masks[layer])
        return a, o

    def gradient(self, x, y, masks=None):
        """The mean loss over a batch, and its gradient as a vector."""
        a, o = self.forward(x, masks)
        rows = np.arange(len(x))
        logs = log_softmax(a[-1], axis=1)
        delta = np.exp(logs)
        delta[rows, y] -= 1
        delta /= len(x)
        gradient = np.empty_like(self.w)
        kernels, biases = self.views(gradient)
        self.deltas = [delta]
        for layer in reversed(range(len(a))):
            kernels[layer][:] = o[layer].T @ delta
            biases[layer][:] = delta.sum(axis=0)
            if layer:
                delta = delta @ self.kernels[layer].T
                if masks is not None:
                    delta = delta * masks[layer - 1]
                    unmasked = self.activate(a[layer - 1])
                else:
                    unmasked = o[layer]
                delta = delta * self.slope(a[layer - 1], unmasked)
                self.deltas.insert(0, delta)
        return -logs[rows, y].mean(), gradient

    def loss(self, x, y):
        """Mean cross-entropy; infinite for a net that has diverged."""
        with np.errstate(all="ignore"):
            logs = log_softmax(self.forward(x)[0][-1], axis=1)
        loss = -logs[np.arange(len(x)), y].mean()
        return float(loss) if np.isfinite(loss) else np.inf

    def accuracy(self, x, y):
        """In %."""
        with np.errstate(all="ignore"):
            return float(100 * np.mean(self.forward(x)[0][-1].argmax(axis=1) == y))


def train(net, x, y, step, rate, epochs, rng, batch=32, masks=None, seen=None):
    """Trains in batches, in an order drawn for each epoch.

    Args:
        net: An `MLP`, changed in place.
        x: Inputs.
        y: Labels.
        step: An optimizer of `optimizers`, made.
        rate: Learning rate.
        epochs: How many.
        rng: Draws the order, and is handed to `masks`.
        batch: Examples in a batch; the rest of an epoch is left out.
        masks: Function from a generator and the batch to masks for `forward`.
        seen: Function called after each epoch.
    """
    batch = min(batch, len(x))
    with np.errstate(all="ignore"):
        for _ in range(epochs):
            order = rng.permutation(len(x))
            for i in range(0, len(x) - batch + 1, batch):
                part = order[i : i + batch]
                drawn = masks(rng, batch) if masks else None
                net.w -= rate * step(net.gradient(x[part], y[part], drawn)[1])
            if seen:
                seen()


def digits(seed, train=1000, test=500):
    """scikit-learn's digits, standardised by the training part.

    Args:
        seed: Of the split.
        train: Examples to train on.
        test: Examples to test on.

    Returns:
        `(x, y, test_x, test_y)`; columns of one value are 0.
    """
    x, y = load_digits(return_X_y=True)
    x, test_x, y, test_y = train_test_split(
        x, y, train_size=train, test_size=test, stratify=y, random_state=seed
    )
    mean, sd = x.mean(axis=0), x.std(axis=0)
    sd[sd < 0.1] = np.inf  # pixels that are hardly ever set
    return (x - mean) / sd, y, (test_x - mean) / sd, test_y
