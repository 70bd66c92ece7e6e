"""Whether batch normalisation forgives rates and initial values, and small batches.

Claim:   batch normalisation makes training less sensitive to the initial values and to
         the learning rate; it needs large batches, and cannot train at a batch of one.
Source:  Ioffe and Szegedy, ICML 2015, arXiv 1502.03167; Wu and He, "Group
         Normalization", arXiv 1803.08494; the study notes (docs/site/notes.toml),
         section "batch normalization".
Data:    scikit-learn's digits, 700 to train on, 300 to choose on, 500 to test; four
         hidden layers of 64, ReLU, plain SGD, in NumPy. With it, each hidden layer is
         normalised before its ReLU, by the batch in training, at test by all training
         examples. The map: 5 rates by 5 scales of Kaiming's kernels, 15 epochs in
         batches of 50. The batches: 2 epochs, the best of five rates on the part to
         choose on.
Rule:    by test accuracy, four signs, p < 0.05 each. With it, (1) the mean over the
         rates at Kaiming's scale is higher; (2) so is the mean over the scales, at the
         rate that each has chosen at Kaiming's scale. (3) At a batch of 1 it loses to
         the plain net, and (4) at a batch of 2. Holds, if all; partly, if some; not
         here, if none.
Change:  the ranges of the map; Adam, that forgives rates too; convolutions, which
         average over places and train at a batch of 1.
Command: python studies/batchnorm_forgives.py
Writes:  docs/studies/batchnorm_forgives.json and .png
"""

import functools

import numpy as np
from harness import Study, by_signs, lead, summarise
from mlp import MLP, digits, train
from optimizers import sgd
from pictures import groups, heat, panels
from scipy.special import log_softmax

COUNT, TO_CHOOSE, EPSILON = 700, 300, 1e-3
NETWORK, KAIMING = (64, 64, 64, 64, 64, 10), 2**0.5
RATES, SCALES = (0.001, 0.01, 0.1, 1.0, 10.0), (0.1, 0.3, 1.0, 3.0, 10.0)
BATCHES, BATCH_RATES = (1, 2, 4, 32), (0.01, 0.03, 0.1, 0.3, 1.0)
PLAIN, NORM = "plain", "batch normalisation"


class BatchNormMLP(MLP):
    """A net whose hidden layers are normalised, then scaled and shifted.

    Attributes:
        scales: Of the normalised units; `biases` shift them.
        statistics: Mean and variance by layer, in place of the batch's, where set.
        seen: Those of the last forward pass.
    """

    def __init__(self, sizes, activation="relu", rng=None, gain=KAIMING):
        super().__init__(sizes, activation, rng, gain)
        self.count = len(self.w)
        self.w = np.append(self.w, np.ones(sum(sizes[1:-1])))
        self.kernels, self.biases = self.views(self.w)
        self.scales = self.w[self.count :].reshape(len(sizes) - 2, -1)
        self.statistics = None

    def forward(self, x, masks=None):
        """As of any `MLP`; `a` is what is normalised, scaled and shifted."""
        a, o, self.seen, self.normal = [], [x], [], []
        for layer, kernel in enumerate(self.kernels[:-1]):
            u = o[-1] @ kernel
            self.seen.append((u.mean(axis=0), u.var(axis=0)))
            mean, variance = (self.statistics or self.seen)[layer]
            self.normal.append((u - mean) / np.sqrt(variance + EPSILON))
            a.append(self.scales[layer] * self.normal[-1] + self.biases[layer])
            o.append(self.activate(a[-1]))
        a.append(o[-1] @ self.kernels[-1] + self.biases[-1])
        return a, o

    def gradient(self, x, y, masks=None):
        """As of any `MLP`, by way of the batch's mean and variance."""
        a, o = self.forward(x)
        rows, gradient = np.arange(len(x)), np.empty_like(self.w)
        kernels, biases = self.views(gradient)
        scales = gradient[self.count :].reshape(self.scales.shape)
        logs = log_softmax(a[-1], axis=1)
        delta = np.exp(logs)
        delta[rows, y] -= 1
        delta /= len(x)
        for layer in reversed(range(len(a))):
            biases[layer][:] = delta.sum(axis=0)
            if layer < len(a) - 1:
                normal, sd = self.normal[layer], np.sqrt(self.seen[layer][1] + EPSILON)
                scales[layer] = np.sum(delta * normal, axis=0)
                along = normal * np.mean(delta * normal, axis=0)
                delta = self.scales[layer] / sd * (delta - delta.mean(axis=0) - along)
            kernels[layer][:] = o[layer].T @ delta
            if layer:
                delta = delta @ self.kernels[layer].T
                delta = delta * self.slope(a[layer - 1], o[layer])
        return -logs[rows, y].mean(), gradient


NETS = {PLAIN: MLP, NORM: BatchNormMLP}
split = functools.cache(functools.partial(digits, train=COUNT + TO_CHOOSE))


def trained(kind, scale, rate, batch, epochs, seed):
    """Accuracy of a net on the part to choose on, and on the test digits."""
    x, y, test_x, test_y = split(seed)
    rng = np.random.default_rng(seed)
    net = NETS[kind](NETWORK, "relu", rng, scale * KAIMING)
    train(net, x[:COUNT], y[:COUNT], sgd(), rate, epochs, rng, batch=batch)
    if kind == NORM:
        with np.errstate(all="ignore"):
            net.forward(x[:COUNT])
        net.statistics = net.seen
    return net.accuracy(x[COUNT:], y[COUNT:]), net.accuracy(test_x, test_y)


def cell(kind, scale, rate, seed):
    """Test accuracy in % at a place of the map; the one on the part to choose on."""
    chosen_by, accuracy = trained(kind, scale, rate, 50, 15, seed)
    return accuracy, {"to choose on": round(chosen_by, 2)}


def of_batch(kind, batch, seed):
    """Test accuracy in % at a batch size; the rate that was chosen."""
    found = {rate: trained(kind, 1.0, rate, batch, 2, seed) for rate in BATCH_RATES}
    best = max(BATCH_RATES, key=lambda rate: found[rate][0])
    return found[best][1], {"rate": best}


def name(kind, scale, rate):
    """Of an arm of the map."""
    return f"{kind}, {scale:g} × Kaiming, rate {rate:g}"


def batch_name(kind, batch):
    """Of an arm of the batches."""
    return f"{kind}, batches of {batch}"


def over_rates(arms, kind):
    """At Kaiming's scale, the mean over the rates, by seed."""
    return np.mean([arms[name(kind, 1.0, rate)]["values"] for rate in RATES], axis=0)


def over_scales(arms, kind):
    """At the rate chosen at Kaiming's scale, the mean over the scales, by seed."""
    rows = {rate: arms[name(kind, 1.0, rate)]["details"] for rate in RATES}
    means = []
    for i in range(len(rows[RATES[0]])):
        best = max(RATES, key=lambda rate: rows[rate][i]["to choose on"])
        values = [arms[name(kind, scale, best)]["values"][i] for scale in SCALES]
        means.append(np.mean(values))
    return means


def decide(arms):
    """The rule of the header."""
    signs, told = [], []
    for what, mean in (("rates", over_rates), ("scales", over_scales)):
        norm, plain = mean(arms, NORM), mean(arms, PLAIN)
        row = summarise(norm, plain)
        signs.append(row["difference"] > 0 and row["p"] < 0.05)
        told.append(
            f"The mean over the {what} is {np.mean(norm):.0f} % with it and "
            f"{np.mean(plain):.0f} % without (p = {row['p']:.2g})."
        )
    for batch in BATCHES[:2]:
        by, p = lead(arms, batch_name(NORM, batch), batch_name(PLAIN, batch))
        signs.append(by < 0 and p < 0.05)
        mean = arms[batch_name(NORM, batch)]["mean"]
        told.append(
            f"In batches of {batch} it reaches {mean:.1f} %, the plain net "
            f"{mean - by:.1f} (p = {p:.2g})."
        )
    return by_signs(signs), " ".join(told)


def picture(result):
    """The two maps, and accuracy by batch size."""
    arms, seeds = result["arms"], len(result["seeds"])
    figure, axes = panels(3, width=4.5, height=3.9)
    for panel, kind in zip(axes, NETS, strict=False):
        means = [[arms[name(kind, s, r)]["mean"] for r in RATES] for s in SCALES[::-1]]
        scales, rates = [f"{s:g}" for s in SCALES[::-1]], [f"{r:g}" for r in RATES]
        heat(panel, means, scales, rates, "Test accuracy (%)", vmin=0, vmax=100)
        panel.set(xlabel="Learning rate", ylabel="Kernels at the start (× Kaiming's)")
        panel.set_title(f"{kind}, mean of {seeds} seeds", size=10)
    table = {
        kind: [arms[batch_name(kind, batch)]["values"] for batch in BATCHES]
        for kind in NETS
    }
    groups(axes[2], BATCHES, table)
    axes[2].set(xlabel="Examples in a batch", ylabel="Test accuracy (%)")
    axes[2].set_title(f"2 epochs, {seeds} seeds, mean ± sd", size=10)
    axes[2].legend(frameon=False, fontsize=9, loc="lower right")
    return figure


STUDY = Study(
    file=__file__,
    arms={
        name(kind, scale, rate): functools.partial(cell, kind, scale, rate)
        for kind in NETS
        for scale in SCALES
        for rate in RATES
    }
    | {
        batch_name(kind, batch): functools.partial(of_batch, kind, batch)
        for kind in NETS
        for batch in BATCHES
    },
    baseline=name(PLAIN, 1.0, 0.1),
    measure="Test accuracy on digits (%)",
    decide=decide,
    seeds=tuple(range(8)),
    setting=f"{COUNT} digits to train on, four hidden layers of 64, SGD",
    picture=picture,
)

if __name__ == "__main__":
    STUDY.main()
