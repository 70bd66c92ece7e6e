"""The optimizers in NumPy, as the papers have them, for toys and for `mlp.MLP`.

Each function makes one: a function from a gradient to what, times the rate, is taken
off the weights. It works elementwise, so one call can follow many paths at once.
"""

import numpy as np

EPSILON = 1e-7


def sgd():
    """Plain gradient descent."""
    return lambda gradient: gradient


def momentum(rho=0.9, nesterov=False):
    """Polyak's momentum, or Nesterov's in the form that Keras has."""
    velocity = 0.0

    def step(gradient):
        nonlocal velocity
        velocity = rho * velocity + gradient
        return rho * velocity + gradient if nesterov else velocity

    return step


def nesterov(rho=0.9):
    """Nesterov's momentum."""
    return momentum(rho, nesterov=True)


def adagrad():
    """Divides by the root of the sum of all squares so far."""
    total = 0.0

    def step(gradient):
        nonlocal total
        total = total + gradient**2
        return gradient / (np.sqrt(total) + EPSILON)

    return step


def rmsprop(decay=0.9):
    """Divides by the root of a running mean of the squares."""
    mean = 0.0

    def step(gradient):
        nonlocal mean
        mean = decay * mean + (1 - decay) * gradient**2
        return gradient / (np.sqrt(mean) + EPSILON)

    return step


def adam(rho=0.9, decay=0.999, correct=True):
    """Running means of the gradient and of its square, corrected for their start."""
    first = second = 0.0
    time = 0

    def step(gradient):
        nonlocal first, second, time
        time += 1
        first = rho * first + (1 - rho) * gradient
        second = decay * second + (1 - decay) * gradient**2
        if not correct:
            return first / (np.sqrt(second) + EPSILON)
        corrected = np.sqrt(second / (1 - decay**time))
        return first / (1 - rho**time) / (corrected + EPSILON)

    return step


ALL = {
    "SGD": sgd,
    "Momentum": momentum,
    "Nesterov": nesterov,
    "AdaGrad": adagrad,
    "RMSProp": rmsprop,
    "Adam": adam,
}


def descend(gradient, start, step, rate, steps):
    """Follows a gradient downhill.

    Args:
        gradient: Function from points to gradients, of the same shape.
        start: Array of points.
        step: One of the above, made.
        rate: Number, or an array that broadcasts against the points.
        steps: How many.

    Returns:
        Array `(steps + 1, *start.shape)`, the path. A point that leaves all bounds
        stays where it was last.
    """
    path = [np.asarray(start, float)]
    with np.errstate(all="ignore"):
        for _ in range(steps):
            new = path[-1] - rate * step(gradient(path[-1]))
            path.append(np.where(np.abs(new) < 1e6, new, path[-1]))
    return np.stack(path)
