"""One harness for the studies: arms by seeds, kept cell by cell, compared in pairs.

A study is a script that makes a `Study` and calls `main`. Its docstring says what is
claimed and by which rule the numbers decide; the verdict is computed, never typed.

    python studies/NAME.py           all seeds; writes docs/studies/NAME.json and .png
    python studies/NAME.py --quick   two seeds, a look; writes nothing

A cell that is done is not run again: a killed study goes on where it was. The cells lie
in build/studies/NAME; a change of the study's file begins anew.
"""

import hashlib
import json
import platform
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
from scipy import stats

from hornbook.zoo.files import replacing, write_json

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
        arms: Functions from a seed to a number, by what they do, in words.
        baseline: The arm that all others are compared with, seed by seed.
        measure: What the number is, with its unit: the label of the axis.
        decide: Function from the result's arms to `(verdict, sentence)`: the rule.
        seeds: Five or more.
        setting: What the arms share, for the record.
    """

    file: str
    arms: dict[str, Callable[[int], float]]
    baseline: str
    measure: str
    decide: Callable[[dict], tuple[str, str]]
    seeds: Sequence[int] = tuple(range(5))
    setting: str = ""

    @property
    def name(self):
        """The name of the study's file."""
        return Path(self.file).stem

    def main(self):
        """Runs all cells, then compares, decides, draws and writes."""
        quick = "--quick" in sys.argv[1:]
        seeds = self.seeds[:2] if quick else self.seeds
        values = {
            arm: [self._cell(number, arm, seed) for seed in seeds]
            for number, arm in enumerate(self.arms)
        }
        arms = {
            arm: summarise(each, values[self.baseline]) for arm, each in values.items()
        }
        for arm, row in arms.items():
            print(f"{arm:60} {row['mean']:8.2f} ± {row['sd']:.2f}", flush=True)
        if quick:
            return
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
        write_json(OUT / f"{self.name}.json", result)
        with replacing(OUT / f"{self.name}.png") as new:
            draw(result, new)

    def _cell(self, number, arm, seed):
        digest = hashlib.sha256(Path(self.file).read_bytes()).hexdigest()[:12]
        path = ROOT / f"build/studies/{self.name}/{digest}/{number}-{seed}.json"
        if path.is_file():
            return json.loads(path.read_text(encoding="utf-8"))
        value = float(self.arms[arm](seed))
        print(f"{arm}, seed {seed}: {value:.2f}", flush=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, value)
        return value


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
    differences = np.subtract(values, baseline)
    if np.ptp(differences) > 0:
        test = stats.ttest_rel(values, baseline)
        low, high = test.confidence_interval()
        row |= {
            "difference": float(differences.mean()),
            "interval": [float(low), float(high)],
            "p": float(test.pvalue),
        }
    return row


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


def draw(result, path):
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
    axes.invert_yaxis()
    axes.set_xlabel(f"{result['measure']}: {len(result['seeds'])} seeds, mean ± sd")
    axes.grid(axis="x", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=130, format="png")
