"""How far momentum carries past the minimum, and whether Nesterov's carries less far.

Claim:   momentum's inertia overshoots the minimum and circles it; Nesterov's look ahead
         makes it less.
Source:  Sutskever et al., ICML 2013; the study notes (docs/site/notes.toml), section
         "SGD + momentum".
Data:    bowls of ten weights, of curvatures drawn between 0.01 and 1, from a random
         start, 1,000 steps at momentum 0.9; and scikit-learn's digits in one batch,
         64-32-10, tanh, 300 steps.
Rule:    overshoot is how far the weights get beyond the minimum along their own axes,
         in % of the start's distance (root of the sum of squares). At each of four
         rates momentum has more than SGD, and Nesterov's less than momentum, p < 0.05:
         eight signs. Holds, if all; partly, if some; not here, if none. The net decides
         nothing.
Change:  rates far below 1 / curvature, where both kinds of momentum become one.
Command: python studies/momentum_overshoot.py
Writes:  docs/studies/momentum_overshoot.json and .png
"""

import functools

import numpy as np
from harness import Study, by_signs, lead
from mlp import MLP, digits
from optimizers import descend, momentum, nesterov, sgd
from pictures import COLOURS, band, panels, plain_log

RATES, STEPS, NET_RATE = (0.01, 0.1, 0.3, 1.0), 1000, 0.3
KINDS = {"SGD": sgd, "momentum": momentum, "Nesterov": nesterov}


def bowl(seed):
    """Curvatures and a start of length 1."""
    rng = np.random.default_rng(seed)
    curvature = 10 ** rng.uniform(-2, 0, 10)
    start = rng.normal(size=10)
    return curvature, start / np.linalg.norm(start)


def overshoot(kind, rate, seed):
    """In % of the start's distance."""
    curvature, start = bowl(seed)
    path = descend(lambda w: curvature * w, start, KINDS[kind](), rate, STEPS)
    beyond = np.max(-path * np.sign(start), axis=0)
    return 100 * np.linalg.norm(np.maximum(beyond, 0))


def wrong_sign(seed, rho=0.9):
    """The notes' formula: the gradient is taken at w + ρv, and v points uphill."""
    curvature, w = bowl(seed)
    velocity = np.zeros_like(w)
    for _ in range(STEPS):
        velocity = rho * velocity + curvature * (w + rho * velocity)
        w = w - RATES[0] * velocity
        if np.linalg.norm(w) > 1e3:
            break
    return np.linalg.norm(w)


@functools.cache
def net_losses(kind, seed):
    """Training loss after each step, all digits in one batch."""
    x, y, *_ = digits(seed)
    net = MLP((64, 32, 10), "tanh", np.random.default_rng(seed), gain=1)
    step, losses = KINDS[kind](), []
    for _ in range(300):
        loss, gradient = net.gradient(x, y)
        net.w -= NET_RATE * step(gradient)
        losses.append(loss)
    return losses


def arm(kind, rate, seed):
    """Overshoot in %; once a kind, the rises of the net's loss, and the wrong sign."""
    details = {}
    if rate == RATES[-1]:
        rises = np.sum(np.maximum(np.diff(net_losses(kind, seed)), 0))
        details = {"rises": round(float(rises), 5)}
        if kind == "Nesterov":
            details["wrong_sign_diverges"] = bool(wrong_sign(seed) > 1e3)
    return overshoot(kind, rate, seed), details


def name(kind, rate):
    """Of an arm."""
    return f"{kind}, rate {rate:g}"


def decide(arms):
    """The rule of the header."""
    signs, told = [], []
    for rate in RATES:
        for more, less in (("momentum", "SGD"), ("momentum", "Nesterov")):
            by, p = lead(arms, name(more, rate), name(less, rate))
            signs.append(by > 0 and p < 0.05)
        means = [f"{arms[name(kind, rate)]['mean']:.1f}" for kind in KINDS]
        told.append(f"at rate {rate:g} {', '.join(means)} %")
    details = arms[name("Nesterov", RATES[-1])]["details"]
    wrong = sum(each["wrong_sign_diverges"] for each in details)
    return by_signs(signs), (
        f"SGD, momentum and Nesterov's overshoot {'; '.join(told)}. With the notes' "
        f"sign Nesterov's diverges in {wrong} of {len(details)} seeds."
    )


def picture(result):
    """A path, the overshoot by rate, and the net's loss."""
    figure, (first, second, third) = panels(3, width=4, height=3.8)
    colours = dict(zip(KINDS, COLOURS, strict=False))
    for kind, make in KINDS.items():
        start, curvature = np.array([-1.0, 0.5]), np.array([0.1, 1.0])
        path = descend(lambda w, c=curvature: c * w, start, make(), 0.3, 120)
        style = {"ms": 3, "lw": 1.2, "color": colours[kind]}
        first.plot(*path.T, ".-", label=kind, **style)
    first.plot(0, 0, "k*", ms=11)
    first.set(xlabel="Weight of curvature 0.1", ylabel="Weight of curvature 1")
    first.set_title("Paths at rate 0.3; the star is the minimum", size=10)
    first.legend(frameon=False, fontsize=9, loc="upper right")
    for kind, colour in colours.items():
        values = [result["arms"][name(kind, rate)]["values"] for rate in RATES]
        band(second, RATES, np.transpose(values), colour, kind, marker="o")
        losses = [net_losses(kind, seed) for seed in result["seeds"]]
        band(third, range(1, 301), losses, colour, kind, log=True)
    plain_log(second.xaxis, RATES)
    second.set(xlabel="Learning rate", ylabel="Overshoot (% of the start's distance)")
    second.set_title(f"Bowls, {len(result['seeds'])} seeds, mean ± sd", size=10)
    third.set_yscale("log")
    third.set(xlabel="Step", ylabel="Training loss on digits (nats)")
    third.set_title(f"A net, all in one batch, rate {NET_RATE:g}", size=10)
    return figure


STUDY = Study(
    file=__file__,
    arms={
        name(kind, rate): functools.partial(arm, kind, rate)
        for kind in KINDS
        for rate in RATES
    },
    baseline=name("momentum", RATES[0]),
    measure="Overshoot (% of the start's distance)",
    decide=decide,
    seeds=tuple(range(10)),
    setting="bowls of ten weights, curvatures between 0.01 and 1, momentum 0.9",
    picture=picture,
)

if __name__ == "__main__":
    STUDY.main()
