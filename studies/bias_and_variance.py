"""Bias and variance, measured against the size of the model and of the training set.

Claim:   the more complex the model, the lower its bias and the higher its variance;
         more data lowers the variance. Underfitting is a high bias, overfitting a high
         variance.
Source:  Geman et al., 1992; against it for wide nets Neal et al., arXiv 1810.08591; the
         study notes (docs/site/notes.toml), section "solving overfitting".
Data:    a toy, y = sin(4x + 1) + |x| + noise of sd 0.3, fitted by polynomials, 200
         training sets a seed; and scikit-learn's digits, 64-n-10, ReLU, Adam at 5e-3,
         400 batches of 25, 8 training sets a seed, out of 1,297, with 500 to test; the
         error is that of the probabilities, squared and summed over classes. Bias² is
         the squared error of the sets' mean prediction, less the part that a mean over
         so many sets has of the variance; on digits it holds what noise they have.
Rule:    four signs on either data. From the least to the most complex model (1) bias²
         falls and (2) the variance rises; with more data (3) the variance falls in each
         of three models. These three by the last against the first, p < 0.05, and no
         step the other way with p < 0.01. (4) Of what the error falls by with more
         data, bias² makes up less than a tenth in each of the models. Holds, if all
         eight; partly, if some; not here, if none.
Change:  early stopping or a penalty, which trade variance for bias at one size.
Command: python studies/bias_and_variance.py
Writes:  docs/studies/bias_and_variance.json and .png
"""

import functools
import itertools

import numpy as np
from harness import Study, by_signs, summarise
from mlp import MLP, digits, train
from numpy.polynomial.legendre import legvander
from optimizers import adam
from pictures import COLOURS, band, panels, plain_log
from scipy.special import softmax

NOISE, TOY_SETS, DIGIT_SETS = 0.3, 200, 8
STEPS, BATCH, POOL = 400, 25, 1297
TOY, DIGITS = "toy, degree", "digits, width"
COMPLEXITIES = {
    TOY: (0, 1, 2, 3, 4, 5, 6, 8, 10, 12),
    DIGITS: (1, 2, 4, 8, 16, 32, 64, 128, 256),
}
REGIMES = {TOY: (1, 5, 12), DIGITS: (2, 16, 128)}
SIZES = {TOY: (60, 120, 240, 480, 960), DIGITS: (25, 50, 100, 200, 400)}
USUAL = {TOY: 60, DIGITS: 100}  # examples, where the complexity changes
LABELS = {"training": "training", "error": "new examples"}
LABELS |= {"bias": "bias²", "variance": "variance"}
UNITS = {
    TOY: "Squared error of the toy",
    DIGITS: "Squared error of probabilities",
}


def truth(x):
    """Without noise."""
    return np.sin(4 * x + 1) + np.abs(x)


def draw(count, rng):
    """Examples of the toy; more of them near the ends, which polynomials need."""
    x = np.cos(np.pi * rng.random(count))
    return x, truth(x) + NOISE * rng.normal(size=count)


def toy(degree, count, seed):
    """Predictions `(sets, points, 1)`, targets, truth, and the training error."""
    new_x, new_y = draw(2000, np.random.default_rng(seed))
    rng = np.random.default_rng((seed, degree, count))
    guesses, errors = [], []
    for _ in range(TOY_SETS):
        x, y = draw(count, rng)
        weights, *_ = np.linalg.lstsq(legvander(x, degree), y)
        errors.append(np.mean((legvander(x, degree) @ weights - y) ** 2))
        guesses.append(legvander(new_x, degree) @ weights)
    parts = np.array(guesses), new_y, truth(new_x)
    return *(part[..., None] for part in parts), np.mean(errors)


def nets(width, count, seed):
    """The same of nets on digits."""
    x, y, test_x, test_y = digits(seed, train=POOL)
    guesses, errors = [], []
    for which in range(DIGIT_SETS):
        rng = np.random.default_rng((seed, width, count, which))
        some = rng.permutation(POOL)[:count]
        net = MLP((64, width, 10), "relu", rng)
        epochs = STEPS * BATCH // count
        train(net, x[some], y[some], adam(), 5e-3, epochs, rng, batch=BATCH)
        seen, new = (softmax(net.forward(p)[0][-1], axis=1) for p in (x[some], test_x))
        errors.append(np.mean(np.sum((seen - np.eye(10)[y[some]]) ** 2, axis=1)))
        guesses.append(new)
    right = np.eye(10)[test_y]
    return np.array(guesses), right, right, np.mean(errors)


def arm(data, complexity, count, seed):
    """The squared error on new examples; that of training, bias² and variance."""
    make = toy if data == TOY else nets
    guesses, targets, right, training = make(complexity, count, seed)
    middle = guesses.mean(axis=0)
    variance = np.mean(np.sum(guesses.var(axis=0, ddof=1), axis=-1))
    bias = np.mean(np.sum((middle - right) ** 2, axis=-1)) - variance / len(guesses)
    error = np.mean(np.sum((guesses - targets) ** 2, axis=-1))
    parts = {"training": training, "bias": bias, "variance": variance}
    return error, {key: float(f"{value:.5g}") for key, value in parts.items()}


def name(data, complexity, count):
    """Of an arm."""
    return f"{data} {complexity}, {count} examples"


def by_complexity(data):
    """The arms' names from the least complex on."""
    return [name(data, each, USUAL[data]) for each in COMPLEXITIES[data]]


def by_size(data, complexity):
    """The arms' names from the fewest examples on."""
    return [name(data, complexity, count) for count in SIZES[data]]


def seen(arms, names, what):
    """Values `(arms, seeds)` of a part, or of the error."""
    if what == "error":
        return np.array([arms[each]["values"] for each in names])
    return np.array([[d[what] for d in arms[each]["details"]] for each in names])


def wrong_steps(values, sign):
    """The arms from which it falls to the next (1) or rises (-1), with p < 0.01."""
    steps = [
        summarise(list(b), list(a)) for a, b in itertools.pairwise(np.asarray(values))
    ]
    found = [sign * s.get("difference", 0) < 0 and s["p"] < 0.01 for s in steps]
    return np.flatnonzero(found)


def goes(values, sign):
    """Whether it rises (1) or falls (-1) from the first arm to the last, throughout."""
    whole = summarise(list(values[-1]), list(values[0]))
    right_way = sign * whole.get("difference", 0) > 0 and whole["p"] < 0.05
    return right_way and not wrong_steps(values, sign).size


def share_of_bias(arms, data, complexity):
    """Of the fall of the error with more data, in %."""
    names = by_size(data, complexity)
    falls = [
        np.mean(each[0] - each[-1])
        for each in (seen(arms, names, "bias"), seen(arms, names, "error"))
    ]
    return 100 * falls[0] / falls[1]


def missing(arms, name):
    """What noise, bias² and variance leave over of the toy's error, in %."""
    parts = [seen(arms, [name], each).mean() for each in ("bias", "variance", "error")]
    return 100 * abs(1 - (NOISE**2 + parts[0] + parts[1]) / parts[2])


def told(data, bias, variance, found, shares):
    """What was found on either data, in words."""
    places, means = COMPLEXITIES[data], variance.mean(axis=1)
    back = [f"{places[i]} to {places[i + 1]}" for i in wrong_steps(variance, 1)]
    shares = ", ".join(f"{abs(share):.0f}" for share in shares)
    return (
        f"{data} {places[0]} to {places[-1]}: bias² "
        f"{'falls' if found[0] else 'does not fall throughout'}, from "
        f"{bias[0].mean():.3f} to {abs(bias[-1].mean()):.3f}; the variance goes from "
        f"{means[0]:.3f} to {means[-1]:.3f}, with {means.max():.3f} at "
        f"{places[means.argmax()]}, and falls from {', '.join(back) or 'none'}. With "
        f"more data the variance {'falls' if found[2] else 'does not always fall'}, "
        f"and bias² makes up {shares} % of what the error falls by, at "
        f"{', '.join(map(str, REGIMES[data]))}."
    )


def decide(arms):
    """The rule of the header."""
    signs, words = [], []
    for data in COMPLEXITIES:
        names = by_complexity(data)
        bias, variance = (seen(arms, names, each) for each in ("bias", "variance"))
        shares = [share_of_bias(arms, data, each) for each in REGIMES[data]]
        lower = [
            goes(seen(arms, by_size(data, each), "variance"), -1)
            for each in REGIMES[data]
        ]
        found = (goes(bias, -1), goes(variance, 1), all(lower), max(shares) < 10)
        signs += found
        words.append(told(data, bias, variance, found, shares))
    left = [missing(arms, each) for each in by_complexity(TOY)]
    words.append(
        f"On the toy, noise, bias² and variance are the error to {max(left):.1f} %."
    )
    return by_signs(signs), " ".join(words)


def by_complexity_panel(axes, arms, data):
    """The errors, and the parts of the one on new examples."""
    axes.set(yscale="log", ylabel=UNITS[data])
    for (what, label), colour in zip(LABELS.items(), COLOURS, strict=False):
        found = np.maximum(seen(arms, by_complexity(data), what).T, 1e-5)
        style = {"marker": "o", "ms": 4, "label": label}
        band(axes, COMPLEXITIES[data], found, colour, log=True, **style)
    axes.set_title(f"{USUAL[data]} training examples", size=10)
    if data == TOY:
        axes.axhline(NOISE**2, color="#595959", ls=":", label="noise")
        axes.set(xlabel="Degree of the polynomial", ylim=(2e-5, None))
        axes.legend(frameon=False, fontsize=9, loc="lower left")
    else:
        plain_log(axes.xaxis, COMPLEXITIES[data])
        axes.set(xlabel="Hidden units", ylim=(1e-3, 2))


def by_size_panel(axes, arms, data, pair):
    """Two curves for each of the three models."""
    parts = pair == ("bias", "variance")
    for complexity, colour in zip(REGIMES[data], COLOURS[4:1:-1], strict=True):
        for what, line in zip(pair, ("--", "-"), strict=True):
            found = seen(arms, by_size(data, complexity), what).T
            label = f"{data.split(', ')[1]} {complexity}" if line == "-" else None
            found = np.maximum(found, 1e-5) if parts else found
            band(axes, SIZES[data], found, colour, label, log=parts, ls=line)
    plain_log(axes.xaxis, SIZES[data])
    axes.set(xlabel="Training examples", ylabel=UNITS[data])
    low, high = axes.get_ylim()
    if parts:
        axes.set(yscale="log", ylim=(5e-4 if data == TOY else 0.02, 2.5 * high))
    else:
        axes.set_ylim(low, high + 0.15 * (high - low))
    axes.set_title(f"dashed: {LABELS[pair[0]]}; solid: {LABELS[pair[1]]}", size=10)
    axes.legend(frameon=False, fontsize=9, ncols=3, loc="upper center")


def picture(result):
    """Errors and their parts, by complexity and by the number of examples."""
    arms = result["arms"]
    figure, grid = panels(3, rows=2, width=4.6, height=4)
    for data, row in zip(COMPLEXITIES, (grid[:3], grid[3:]), strict=True):
        by_complexity_panel(row[0], arms, data)
        by_size_panel(row[1], arms, data, ("training", "error"))
        by_size_panel(row[2], arms, data, ("bias", "variance"))
    figure.suptitle(
        f"Above polynomials on a toy, below nets on digits; "
        f"{len(result['seeds'])} seeds, mean ± sd",
        size=11,
    )
    return figure


STUDY = Study(
    file=__file__,
    arms={
        each: functools.partial(arm, data, complexity, count)
        for data in COMPLEXITIES
        for complexity, count in (
            *((c, USUAL[data]) for c in COMPLEXITIES[data]),
            *itertools.product(REGIMES[data], SIZES[data]),
        )
        for each in [name(data, complexity, count)]
    },
    baseline=name(DIGITS, 16, 100),
    measure="Squared error on new examples",
    decide=decide,
    seeds=tuple(range(10)),
    setting="polynomials on a toy, and 64-n-10 on digits",
    picture=picture,
)

if __name__ == "__main__":
    STUDY.main()
