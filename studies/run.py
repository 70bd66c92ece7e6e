"""Runs the studies, two at a time, and goes on where it was killed.

    python studies/run.py [NAME ...]           all, or those named
    python studies/run.py --quick [NAME ...]   a look at the harness's, two seeds, but
                                               for the two that are long even so
    python studies/run.py --again [NAME ...]   those that are done, too

A study is a script here whose docstring gives a `Command:`, which is what is run. It is
done once it has ended well since its file, or one of the shared ones, last changed. Of
one that was killed, the cells that the harness keeps are not run again. What it prints
goes to build/studies/NAME.log.
"""

import argparse
import ast
import hashlib
import os
import re
import shlex
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

HERE = Path(__file__).parent
BUILD = HERE.parent / "build/studies"
SHARED = ("harness.py", "mlp.py", "optimizers.py", "small_nets.py")
AT_ONCE = 2
VERDICTS = tuple(f"{verdict}: " for verdict in ("holds", "partly", "not here"))
# They begin first, so that none of them is left to run alone at the end.
LONGEST = (
    "augmentation_ladder",
    "finetune_arms",
    "finetune_rates",
    "curve_verdicts",
    "transfer_depth",
    "finetune_strategies",
    "rate_auto",
)
# A look at one takes six minutes or more: they train 18 and 60 nets that are costly.
LONG_EVEN_SO = ("augmentation_ladder", "finetune_rates")


def commands():
    """The command of each study, by its name."""
    found = {}
    for path in sorted(HERE.glob("*.py")):
        docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        if command := re.search(r"^Command: +(.+)$", docstring, re.MULTILINE):
            found[path.stem] = command[1]
    return dict(sorted(found.items(), key=lambda each: each[0] not in LONGEST))


def can_be_quick(name):
    """Whether a study is the harness's, which knows `--quick`, and short then."""
    harness = "STUDY.main()" in (HERE / f"{name}.py").read_text(encoding="utf-8")
    return harness and name not in LONG_EVEN_SO


def digest(name):
    """Of a study's file and of the shared ones."""
    files = [HERE / f"{name}.py", *(HERE / shared for shared in SHARED)]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def run(name, command, quick):
    """Runs a study on one core.

    Returns:
        Its name, whether it ended well, its seconds, and its verdict or last line.
    """
    *settings, _python, script = shlex.split(command)
    log, mark = BUILD / f"{name}.log", BUILD / f"{name}.done"
    threads = dict.fromkeys(
        ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"), "1"
    )
    start = time.monotonic()
    with log.open("w", encoding="utf-8") as output:
        ended = subprocess.run(
            [sys.executable, script, *(["--quick"] if quick else [])],
            cwd=HERE.parent,
            env=os.environ | threads | dict(each.split("=", 1) for each in settings),
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        )
    well = ended.returncode == 0
    if well and not quick:
        mark.write_text(digest(name))
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    verdicts = [line for line in lines if line.startswith(VERDICTS)]
    last = ([""] + lines + (verdicts if well else []))[-1]
    return name, well, time.monotonic() - start, last


def main(arguments=None):
    """Runs what is not done; returns how many failed."""
    parser = argparse.ArgumentParser(prog="python studies/run.py")
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--quick", action="store_true", help="two seeds, a look")
    parser.add_argument("--again", action="store_true", help="those done, too")
    given = parser.parse_args(arguments)
    every = commands()
    if unknown := set(given.names) - set(every):
        parser.error(f"no such study: {', '.join(sorted(unknown))}")
    names = given.names or list(every)
    if given.quick:
        names = [name for name in names if can_be_quick(name)]
    elif not given.again:
        marks = {name: BUILD / f"{name}.done" for name in names}
        names = [
            name
            for name, mark in marks.items()
            if not (mark.is_file() and mark.read_text() == digest(name))
        ]
    BUILD.mkdir(parents=True, exist_ok=True)
    print(f"{len(names)} studies to run, {AT_ONCE} at a time", flush=True)
    failed, begun = [], time.monotonic()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        runs = [pool.submit(run, name, every[name], given.quick) for name in names]
        for count, done in enumerate(as_completed(runs), start=1):
            name, well, seconds, last = done.result()
            failed += [] if well else [name]
            how = "" if well else f"FAILED, see {BUILD.name}/{name}.log: "
            print(
                f"{count}/{len(names)} {name}, {seconds:.0f} s: {how}{last}", flush=True
            )
    print(f"{(time.monotonic() - begun) / 60:.0f} min", flush=True)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return len(failed)


if __name__ == "__main__":
    sys.exit(main())
