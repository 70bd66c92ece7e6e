"""Run folders as tests need them."""

import json

from hornbook.files import sha256
from hornbook.zoo.runs.config import RunConfig


def config_lines(options=None, **more):
    """The lines of a config.json."""
    lines = {
        "hornbook": "0.1.0",
        "backend": "tensorflow",
        "versions": {"keras": "3.15.1", "python": "3.11.9"},
        "command": "hornbook finetune",
        **RunConfig.of(options or {}).as_dict(),
        "weights_sha256": "3f" * 32,
        "data_sha256": "4f" * 32,
        "class_names": ["a", "b"],
        "picture_size": 36,
        "image_size": 32,
        "channels": 3,
    }
    return lines | more


def write_run(folder, lines, **metrics):
    """Makes a model.keras in a folder a finished run, but for its figures."""
    (folder / "config.json").write_text(json.dumps(lines))
    found = {
        "counts": {},
        "stopping": "fixed budget",
        "epochs_run": {},
        "kept": "",
        "test": {},
        "confusion": [],
        "seconds": {},
        "notices": [],
        "model_sha256": sha256(folder / "model.keras"),
    }
    (folder / "metrics.json").write_text(json.dumps(found | metrics))
    (folder / "history.csv").write_text("")
    return folder
