"""Logs for TensorBoard: hyperparameters and learning curves of a search."""

import math
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from hornbook.tuning.report.read import Search, Trial

Summaries = Iterator[tuple[int, Any]]


def write_logs(search: Search, folder: str | os.PathLike[str]) -> None:
    """Writes a log folder for each trial, and replaces those of an earlier call.

    TensorFlow is needed neither to write nor to show them with
    `tensorboard --logdir FOLDER`.

    Args:
        search: A `Search`.
        folder: Path of the folder to write.
    """
    folder = Path(folder)
    new = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".new-"))
    _write(new, _experiment(search))
    for trial in search.trials:
        if trial.runs:
            name = "-".join(filter(None, [search.stages[trial.stage], trial.id]))
            _write(new / name, _session(search, trial))
    new.chmod(0o755)
    shutil.rmtree(folder, ignore_errors=True)
    new.rename(folder)


def _write(folder: Path, summaries: Iterable[tuple[int, Any]]) -> None:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    writer = EventFileWriter(str(folder))
    for step, summary in summaries:
        writer.add_event(Event(wall_time=0.0, step=step, summary=summary))
    writer.close()


def _experiment(search: Search) -> Summaries:
    from tensorboard.plugins.hparams import api

    parts = []
    for name, about in search.space.items():
        config = about["config"]
        if "min_value" in config:
            low, high = float(config["min_value"]), float(config["max_value"])
            domain = api.RealInterval(low, high)
        else:
            domain = api.Discrete(
                [_plain(v) for v in config.get("values", (False, True))]
            )
        parts.append(api.HParam(name, domain))
    yield 0, api.hparams_config_pb(parts, [api.Metric(search.objective)])


def _session(search: Search, trial: Trial) -> Summaries:
    from tensorboard.plugins.hparams import api

    values = {name: _plain(value) for name, value in trial.values.items()}
    yield 0, api.hparams_pb(values, trial_id=trial.id)
    for name, values in trial.runs[0]["curves"].items():
        yield from _scalars(f"epoch_{name}", values)
    if trial.score is not None:
        yield from _scalars(search.objective, [trial.score])


def _plain(value: Any) -> bool | int | float | str:
    return value if isinstance(value, (bool, int, float)) else str(value)


def _scalars(name: str, values: Iterable[float]) -> Summaries:
    from tensorboard.plugins.scalar.summary import scalar_pb

    for step, value in enumerate(values):
        if math.isfinite(value):
            yield step, scalar_pb(name, value)
