"""One harness for the studies: arms by seeds, kept cell by cell, compared in pairs.

A study is a script that makes a `Study` and calls `main`. Its docstring says what is
claimed and by which rule the numbers decide; the verdict is computed, never typed.

    python studies/NAME.py           all seeds; writes docs/studies/NAME.json and .png
    python studies/NAME.py --quick   a look: two seeds, and fewer epochs where these
                                     take long; build/studies/NAME/quick.png

A cell that is done is not run again: a killed study goes on where it was. The cells lie
in build/studies/NAME; a change of the study's file, or of one that it imports from this
folder, begins anew.
"""

import hashlib
import io
import json
import platform
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np

from hornbook.files import atomic_write, write_json
from hornbook.stats import paired_t_test

ROOT = Path(__file__).parents[1]
OUT = ROOT / "docs/studies"
PACKAGES = ("keras", "tensorflow", "numpy", "scikit-learn")
BLUE, ORANGE = "#0072b2", "#d55e00"
VERDICTS = ("holds", "partly", "not here")


@dataclass(frozen=True)
class Study:
    """What is compared.

    Attributes:
        file: The study's `__file__`; its name is the study's.
        arms: Functions from a seed to a number, by what they do, in words; or to the
            number and a dict of what else was seen, for the rule and the picture: it
            stands in the arm's `details`, seed by seed.
        baseline: The arm that all others are compared with, seed by seed.
        measure: What the number is, with its unit: the label of the axis.
        decide: Function from the result's arms to `(verdict, sentence)`: the rule.
        seeds: Five or more.
        setting: What the arms share, for the record.
        picture: Function from the result to a figure of matplotlib.
    """

    file: str
    arms: dict[str, Callable[[int], float | tuple[float, dict]]]
    baseline: str
    measure: str
    decide: Callable[[dict], tuple[str, str]]
    seeds: Sequence[int] = tuple(range(5))
    setting: str = ""
    picture: Callable[[dict], object] | None = None

    @property
    def name(self):
        """The name of the study's file."""
        return Path(self.file).stem

    def main(self):
        """Runs all cells, then compares, decides, draws and writes."""
        quick = is_quick()
        seeds = self.seeds[:2] if quick else self.seeds
        cells = {
            arm: [self._cell(number, arm, seed) for seed in seeds]
            for number, arm in enumerate(self.arms)
        }
        values = {arm: [value for value, _ in each] for arm, each in cells.items()}
        arms = {
            arm: summarise(each, values[self.baseline]) for arm, each in values.items()
        }
        for arm, each in cells.items():
            if each[0][1]:
                arms[arm]["details"] = [details for _, details in each]
        for arm, row in arms.items():
            print(f"{arm:60} {row['mean']:9.4g} ± {row['sd']:.3g}", flush=True)
        verdict, sentence = self.decide(arms)
        if verdict not in VERDICTS:
            raise ValueError(f"A verdict is one of {VERDICTS}. Received: {verdict!r}")
        print(f"{verdict}: {sentence}")
        result = {
            "study": self.name,
            "command": f"python studies/{self.name}.py",
            "measure": self.measure,
            "setting": self.setting,
            "baseline": self.baseline,
            "seeds": list(seeds),
            "arms": arms,
            "verdict": verdict,
            "because": sentence,
            **provenance(),
        }
        folder, name = OUT, self.name
        if quick:
            folder, name = ROOT / f"build/studies/{self.name}", "quick"
        publish(result, (self.picture or draw)(result), name, folder)

    def _cell(self, number, arm, seed):
        digest = self._digest()
        kind = "quick" if is_quick() else "cells"
        path = ROOT / f"build/studies/{self.name}/{kind}-{digest}/{number}-{seed}.json"
        if path.is_file():
            return json.loads(path.read_text(encoding="utf-8"))
        value = self.arms[arm](seed)
        value, details = value if isinstance(value, tuple) else (value, {})
        print(f"{arm}, seed {seed}: {value:.4g}", flush=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, [float(value), details])
        return [float(value), details]

    def _digest(self):
        """Of the study's file, and of those beside it that it has imported."""
        folder, here = Path(self.file).resolve().parent, Path(__file__).resolve()
        loaded = {
            getattr(each, "__file__", None) for each in list(sys.modules.values())
        }
        paths = {Path(file).resolve() for file in [self.file, *filter(None, loaded)]}
        beside = sorted(path for path in paths - {here} if path.parent == folder)
        text = b"".join(path.read_bytes() for path in beside)
        return hashlib.sha256(text).hexdigest()[:12]


def is_quick():
    """Whether this is but a look, of which nothing is published."""
    return "--quick" in sys.argv[1:]


def summarise(values, baseline):
    """Mean and spread of an arm, and its difference to the baseline in pairs.

    Args:
        values: One number a seed.
        baseline: The baseline's, of the same seeds.

    Returns:
        Dict with `values`, `mean`, `sd` (of the sample), and where the arms differ
        `difference`, its 95 % `interval` and `p`, by Student's paired t-test.
    """
    row = {
        "values": [round(value, 4) for value in values],
        "mean": float(np.mean(values)),
        "sd": float(np.std(values, ddof=1)),
    }
    if np.any(np.subtract(values, baseline)):
        test = paired_t_test(values, baseline)
        row |= test._asdict() | {"interval": list(test.interval)}
    return row


def lead(arms, arm, over):
    """How far an arm lies above another: the mean of the differences, and p."""
    row = summarise(arms[arm]["values"], arms[over]["values"])
    return row.get("difference", 0.0), row.get("p", 1.0)


def by_signs(signs):
    """The verdict of a claim in parts: all hold, some, or none."""
    return "holds" if all(signs) else "partly" if any(signs) else "not here"


def provenance():
    """Commit, versions and machine, for the record."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip()
    return {
        "commit": commit,
        "versions": {package: version(package) for package in PACKAGES},
        "machine": f"{platform.machine()}, Python {platform.python_version()}",
    }


def publish(result, figure, name, folder=OUT):
    """Writes a result as JSON, and its picture beside it."""
    write_json(folder / f"{name}.json", result)
    with atomic_write(folder / f"{name}.png") as new:
        save(figure, new)


def save(figure, path):
    """Writes a picture in 256 colours, which takes a third of the room."""
    from PIL import Image

    pixels = io.BytesIO()
    figure.savefig(pixels, dpi=130, format="png")
    few = Image.open(pixels).convert("RGB").quantize(256, dither=Image.Dither.NONE)
    few.save(path, format="png", optimize=True)


def draw(result):
    """Every seed as a dot, the mean and its spread beside them, an arm a row."""
    from matplotlib.figure import Figure

    arms = result["arms"]
    figure = Figure((8, 0.9 + 0.45 * len(arms)), layout="constrained")
    axes = figure.subplots()
    for place, row in enumerate(arms.values()):
        colour = ORANGE if list(arms)[place] == result["baseline"] else BLUE
        dots = np.full(len(row["values"]), place + 0.18)
        axes.plot(row["values"], dots, "o", color=colour, alpha=0.4, markersize=5)
        axes.errorbar(
            row["mean"], place - 0.12, xerr=row["sd"], fmt="D", color=colour, capsize=4
        )
    axes.set_yticks(range(len(arms)), list(arms))
    axes.set_ylim(len(arms) - 0.5, -0.5)
    axes.set_xlabel(f"{result['measure']}: {len(result['seeds'])} seeds, mean ± sd")
    axes.grid(axis="x", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    return figure
