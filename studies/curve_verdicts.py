"""Whether curves alone tell what ails a run: fits and tests the limits of `verdict`.

Claim:   from the learning curves alone one can tell the notes' conditions apart.
Source:  Smith, "A disciplined approach to neural network hyper-parameters", arXiv
         1803.09820, section 3; the study notes (docs/site/notes.toml), section "the
         general problem of overfitting".
Data:    small nets on scikit-learn's digits, wine, breast cancer and diabetes, and on
         four toys. Each run has its condition by construction (`CONDITIONS`), not by
         its looks: a net that cannot represent the target; a wide one on few examples
         with a fifth of the labels shuffled; the same with all labels shuffled; a rate
         a hundred times too high, one that rises without end, one beyond stepping; a
         sixth of the epochs or a thirtieth of the rate; epochs as they should be; five
         times as many. A run whose construction fails to bring the condition stays in.
Split:   the limits are fitted on seed 0 of five data sets. Held out: seed 1 of these,
         and breast cancer, diabetes and product with both seeds. The rules themselves
         were written with some curves of both parts in view.
Rule:    holds, if of the held-out runs of each of the eight conditions more are told as
         that condition than as any other; partly, if of more than half of the eight;
         else not here. (Added when the runs were known: before, the study had figures
         and no verdict.)
Change:  larger nets on pictures, of whose curves none was fitted.
Command: KERAS_BACKEND=torch python studies/curve_verdicts.py
Writes:  docs/studies/curve_verdicts.json and .png, and the runs in curves.json. A run
         that is done is not trained again: its curves lie in build/studies.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np
from harness import OUT, ROOT, provenance, publish
from sklearn import datasets
from sklearn.preprocessing import StandardScaler

from hornbook.files import atomic_write, write_json
from hornbook.recipes.diagnosis.verdict import CONDITIONS as NAMES
from hornbook.recipes.diagnosis.verdict import verdict

FACTORS = 10 ** np.linspace(-0.6, 0.6, 49)  # of a limit, while it is fitted
SWEEPS = 3  # over the limits
SEEDS = 0, 1
STARTS = {  # of the fit: round numbers, set by eye
    "diverged": 1.2,
    "thrown": 5,
    "restless": 0.1,
    "high": 0.5,
    "missed": 0.7,
    "gap": 0.3,
    "risen": 0.05,
    "ahead": 0.03,
    "flat": 0.01,
}
COLOURS = "#0072b2", "#d55e00"
TIMES = {"still improving", "fits", "plateaued"}  # differ in when a run was stopped


def bowl(rng, count=600):
    """The square of the first of five inputs, with noise."""
    x = rng.uniform(-1, 1, (count, 5))
    return x, 3 * x[:, 0] ** 2 + rng.normal(0, 0.15, count)


def quadrants(rng, count=600):
    """Whether two inputs of five have the same sign."""
    x = rng.normal(size=(count, 5))
    return x, (x[:, 0] * x[:, 1] > 0).astype(int)


def plane(rng, count=600):
    """A linear function of 20 inputs, with noise."""
    x = rng.normal(size=(count, 20))
    return x, x @ np.linspace(-1, 1, 20) / 2.5 + rng.normal(0, 0.3, count)


def product(rng, count=600):
    """The product of two inputs of five, with noise."""
    x = rng.uniform(-1, 1, (count, 5))
    return x, 3 * x[:, 0] * x[:, 1] + rng.normal(0, 0.15, count)


def table(load):
    """A bundled table, as a function of a generator."""
    return lambda rng: load(return_X_y=True)


@dataclass(frozen=True)
class Task:
    """A data set, and what suits it.

    Attributes:
        load: Function from a generator to `(x, y)`.
        classes: Their number; 0 for a regression.
        epochs: As they should be: about where a run flattens, set by eye on one run.
        small: Hidden units of a net that cannot represent the target; `None` where a
            linear one can, or nearly.
        held_out: Whether all its seeds are held out.
    """

    load: Callable
    classes: int
    epochs: int
    small: tuple | None
    held_out: bool = False


TASKS = {
    "digits": Task(table(datasets.load_digits), 10, 20, (1,)),
    "wine": Task(table(datasets.load_wine), 3, 15, None),
    "quadrants": Task(quadrants, 2, 40, ()),
    "bowl": Task(bowl, 0, 20, ()),
    "plane": Task(plane, 0, 15, None),
    "breast cancer": Task(table(datasets.load_breast_cancer), 2, 12, None, True),
    "diabetes": Task(table(datasets.load_diabetes), 0, 12, None, True),
    "product": Task(product, 0, 20, (), True),
}


def decaying(rate):
    """AdamW, whose decay keeps a long run from overfitting."""
    return keras.optimizers.AdamW(rate, weight_decay=0.1)


def fixed(optimizer, rate):
    """A function that makes an optimizer with one rate, however many the steps."""
    return lambda steps: optimizer(rate)


def rising(steps):
    """A rate that suits, and grows tenfold in each quarter of the run."""
    return decaying(keras.optimizers.schedules.ExponentialDecay(0.01, steps, 1e4))


SUITED = fixed(decaying, 0.01)
BEYOND = fixed(keras.optimizers.SGD, 1e3)


@dataclass(frozen=True)
class Condition:
    """How a run is made to have a condition.

    Attributes:
        truth: The condition.
        epochs: Factor of the task's.
        hidden: Hidden units, layer by layer; `None` for the task's `small`.
        examples: To train on; `None` for two thirds of all.
        shuffled: Share of the labels that are shuffled, in both sets.
        optimizer: Function from the steps of the run.
    """

    truth: str
    epochs: float = 1
    hidden: tuple | None = (32,)
    examples: int | None = None
    shuffled: float = 0
    optimizer: Callable = SUITED


WIDE = {
    "epochs": 2,
    "hidden": (256, 256),
    "examples": 60,
    "optimizer": fixed(keras.optimizers.Adam, 0.003),
}
CONDITIONS = {
    "too small a net": Condition("underfits", epochs=2, hidden=None),
    "as it should be": Condition("fits"),
    "wide, few, a fifth shuffled": Condition("overfits", shuffled=0.2, **WIDE),
    "wide, few, all shuffled": Condition("always overfits", shuffled=1, **WIDE),
    "100 times the rate": Condition("unstable", optimizer=fixed(decaying, 1.0)),
    "a rate that rises": Condition("diverged", optimizer=rising),
    "a rate beyond stepping": Condition("diverged", optimizer=BEYOND),
    "a sixth of the epochs": Condition("still improving", epochs=1 / 6),
    "a thirtieth of the rate": Condition(
        "still improving", optimizer=fixed(decaying, 0.01 / 30)
    ),
    "five times the epochs": Condition("plateaued", epochs=5),
}


def runs():
    """Every run as `(task, condition, seed)`."""
    for task, each in TASKS.items():
        for made in CONDITIONS:
            if CONDITIONS[made].hidden or each.small is not None:
                yield from ((task, made, seed) for seed in SEEDS)


def data(task, how, seed):
    """Training and validation sets, standardised by the training set."""
    rng = np.random.default_rng(seed)
    x, y = task.load(rng)
    order = rng.permutation(len(x))
    x, y = x[order], y[order]
    some = rng.permutation(len(y))[: round(how.shuffled * len(y))]
    y[some] = y[rng.permutation(some)]
    cut = 2 * len(x) // 3
    few = slice(how.examples or cut)
    scale = StandardScaler().fit(x[few])
    if not task.classes:
        y = (y - y[few].mean()) / y[few].std()
    return (scale.transform(x[few]), y[few]), (scale.transform(x[cut:]), y[cut:])


def train(name, made, seed):
    """Trains a run.

    Returns:
        Dict with the lists `loss` and `val_loss`, and `baseline`: the loss of the best
        constant guess on the training set.
    """
    task, how = TASKS[name], CONDITIONS[made]
    (x, y), validation = data(task, how, seed)
    keras.utils.set_random_seed(seed)
    loss, baseline = "mse", np.var(y)
    if task.classes:
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        _, counts = np.unique(y, return_counts=True)
        baseline = -np.sum(counts * np.log(counts / len(y))) / len(y)
    hidden = task.small if how.hidden is None else how.hidden
    model = keras.Sequential(
        [
            keras.Input(x.shape[1:]),
            *(keras.layers.Dense(units, activation="relu") for units in hidden),
            keras.layers.Dense(task.classes or 1),
        ]
    )
    batch, epochs = max(10, len(x) // 6), max(4, round(how.epochs * task.epochs))
    model.compile(how.optimizer(epochs * len(x) // batch), loss)
    history = model.fit(
        x,
        y,
        batch_size=batch,
        epochs=epochs,
        validation_data=validation,
        callbacks=[keras.callbacks.TerminateOnNaN()],
        verbose=0,
    ).history
    keras.backend.clear_session()
    return {"baseline": float(baseline), **history}


def cell(name, made, seed):
    """A run with its curves, rounded; trained where it is not kept."""
    task, how = TASKS[name], CONDITIONS[made]
    digest = hashlib.sha256(repr((name, task.epochs, made, seed)).encode()).hexdigest()
    path = ROOT / f"build/studies/curve_verdicts/{digest[:12]}.json"
    if not path.is_file():
        curves = train(name, made, seed)
        print(name, made, seed, curves["loss"][-1], flush=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, {key: shorten(values) for key, values in curves.items()})
    return {
        "task": name,
        "made": made,
        "seed": seed,
        "truth": how.truth,
        "held_out": task.held_out or seed > 0,
        **json.loads(path.read_text(encoding="utf-8")),
    }


def shorten(values):
    """Four significant digits; text where JSON has no number."""
    if isinstance(values, list):
        return [shorten(value) for value in values]
    return float(f"{values:.4g}") if np.isfinite(values) else str(float(values))


def recall(kept, limits):
    """The share told rightly, with and without baseline, the mean over conditions."""
    right = {name: [] for name in NAMES}
    for run in kept:
        for baseline in (None, run["baseline"]):
            said = verdict(run, baseline=baseline, limits=limits).condition
            right[run["truth"]].append(said == run["truth"])
    return float(np.mean([np.mean(each) for each in right.values()]))


def fit(kept):
    """Sets the limits in turn, each to the middle of the values that do best.

    Args:
        kept: The runs to fit on.

    Returns:
        Dict as `LIMITS`, of two significant digits.
    """
    limits = dict(STARTS)
    for _ in range(SWEEPS):
        for name, start in STARTS.items():
            values = start * FACTORS
            scores = [recall(kept, {**limits, name: value}) for value in values]
            best = np.flatnonzero(np.isclose(scores, max(scores)))
            parts = np.split(best, np.flatnonzero(np.diff(best) > 1) + 1)
            longest = max(parts, key=len)
            middle = np.sqrt(values[longest[0]] * values[longest[-1]])
            limits[name] = float(f"{middle:.2g}")
        print(f"{recall(kept, limits):.3f}", limits, flush=True)
    return limits


def confusion(kept, limits, *, with_baseline=False):
    """How often each condition was taken for each.

    Returns:
        Dict with `runs`, `accuracy` (%), `accuracy_but_for_times` (%), where `TIMES`
        count as one, and `counts`: a row for what runs were made to be, a column for
        what was said.
    """
    pairs = Counter()
    for run in kept:
        baseline = run["baseline"] if with_baseline else None
        said = verdict(run, baseline=baseline, limits=limits).condition
        pairs[run["truth"], said] += 1
    right = sum(pairs[name, name] for name in NAMES)
    nearly = sum(
        n for pair, n in pairs.items() if len({*pair}) == 2 and {*pair} < TIMES
    )
    return {
        "runs": len(kept),
        "accuracy": round(100 * right / len(kept), 1),
        "accuracy_but_for_times": round(100 * (right + nearly) / len(kept), 1),
        "counts": [[pairs[truth, said] for said in NAMES] for truth in NAMES],
    }


def by_confidence(kept, limits):
    """How many are right among the surest half, and among the rest."""
    reports = [verdict(run, limits=limits) for run in kept]
    middle = float(np.median([report.confidence for report in reports]))
    right = {True: [], False: []}
    for run, report in zip(kept, reports, strict=True):
        right[report.confidence >= middle].append(report.condition == run["truth"])
    return {
        "median_confidence": round(middle, 3),
        "surer": round(100 * float(np.mean(right[True])), 1),
        "less_sure": round(100 * float(np.mean(right[False])), 1),
    }


def decide(found):
    """The rule of the header."""
    counts = found["counts"]
    told = [
        condition
        for place, condition in enumerate(NAMES)
        if all(counts[place][place] > n for n in np.delete(counts[place], place))
    ]
    share = len(told) / len(NAMES)
    kind = "holds" if share == 1 else "partly" if share > 0.5 else "not here"
    return kind, (
        f"{found['accuracy']:.0f} % of {found['runs']} held-out runs are told rightly; "
        f"most often as what they are: {', '.join(told)}."
    )


def errors(kept, limits):
    """Every run that is told wrongly, in words."""
    for run in kept:
        report = verdict(run, limits=limits)
        if report.condition != run["truth"]:
            yield (
                f"{run['task']}, {run['made']}, seed {run['seed']}: {run['truth']}, "
                f"taken for {report.condition} ({report.confidence:.2f})"
            )


def main():
    """Trains what is not kept, fits the limits, tests them, draws and writes."""
    kept = [cell(*run) for run in runs()]
    lines = ",\n".join(json.dumps(run, separators=(",", ":")) for run in kept)
    with atomic_write(OUT / "curves.json") as new:
        new.write_text(f"[\n{lines}\n]\n", encoding="utf-8")

    to_fit = [run for run in kept if not run["held_out"]]
    held_out = [run for run in kept if run["held_out"]]
    limits = fit(to_fit)
    found = confusion(held_out, limits)
    for error in errors(held_out, limits):
        print(error)
    kind, because = decide(found)
    result = {
        "study": "curve_verdicts",
        "command": "KERAS_BACKEND=torch python studies/curve_verdicts.py",
        "backend": keras.backend.backend(),
        "conditions": NAMES,
        "limits": limits,
        "fitted_on": confusion(to_fit, limits),
        "held_out": found,
        "held_out_by_data_set": {
            name: confusion(some, limits)["accuracy"]
            for name in TASKS
            if (some := [run for run in held_out if run["task"] == name])
        },
        "fitted_on_with_baseline": confusion(to_fit, limits, with_baseline=True),
        "held_out_with_baseline": confusion(held_out, limits, with_baseline=True),
        "held_out_by_confidence": by_confidence(held_out, limits),
        "held_out_errors": list(errors(held_out, limits)),
        "seeds": list(SEEDS),
        "verdict": kind,
        "because": because,
        **provenance(),
    }
    publish(result, draw(result, held_out), "curve_verdicts")
    print(f"{kind}: {because}")


def draw(result, held_out):
    """The confusion matrix beside one held-out run of each condition."""
    from matplotlib.figure import Figure

    figure = Figure((13, 5.8), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(1, 1.25))
    axes = left.subplots()
    counts = np.array(result["held_out"]["counts"])
    axes.imshow(counts / counts.sum(axis=1, keepdims=True), cmap="Blues", vmax=1.3)
    for place in np.argwhere(counts):
        axes.text(*place[::-1], counts[tuple(place)], ha="center", va="center")
    axes.set_xticks(range(len(NAMES)), NAMES, rotation=40, ha="right")
    axes.set_yticks(range(len(NAMES)), NAMES)
    axes.set(xlabel="what `verdict` said", ylabel="what the run was made to be")
    axes.set_title(
        f"{result['held_out']['runs']} held-out runs, "
        f"{result['held_out']['accuracy']:.0f} % told rightly"
    )
    for place, (panel, name) in enumerate(
        zip(right.subplots(2, 4).flat, NAMES, strict=True)
    ):
        run = next(run for run in held_out if run["truth"] == name)
        curves = [np.array(run[key], float) for key in ("loss", "val_loss")]
        epochs = range(1, len(curves[0]) + 1)
        for curve, colour, style in zip(curves, COLOURS, ("-", "--"), strict=True):
            panel.plot(epochs, curve, style, color=colour)
        report = verdict(run, limits=result["limits"])
        panel.set_title(f"made: {name}\nsaid: {report.condition}", fontsize=10)
        panel.set_xlabel(f"epoch ({run['task']})")
        panel.set_ylabel("" if place % 4 else "cross-entropy")
        panel.set_yscale("log")
        panel.spines[["top", "right"]].set_visible(False)
    right.suptitle("training (blue) and validation loss (orange, dashed)", fontsize=12)
    return figure


if __name__ == "__main__":
    main()
