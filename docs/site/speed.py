"""What the benchmarks measured of a recipe: ratios to a peer, of one run."""

import json
from pathlib import Path

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
ENGINES = {
    "tensorflow": "TensorFlow",
    "tensorflow_xla": "TensorFlow, XLA",
    "jax": "JAX",
}


def of(recipe):
    """The rows of a recipe's table of speed.

    Args:
        recipe: Its name.

    Returns:
        A list of dicts with `case`, `peer`, `ratio` (our time over the peer's) and
        `source`, the name of the benchmark. Empty where nothing was measured.
    """
    return [row for rows in READERS.get(recipe, ()) for row in rows()]


def _load(name):
    path = BENCHMARKS / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8"))


def _row(source, case, peer, ratio):
    return {"source": source, "case": case, "peer": peer, "ratio": ratio}


def _layers(names, peer):
    def rows():
        for each in _load("layers")["layers"]:
            name = each["layer"]
            if name.partition("(")[0] in names:
                shape = " × ".join(map(str, each["inputs"]))
                call = (
                    name if name in ("DropConnect",) or "(" in name else f"masks {name}"
                )
                yield _row(
                    "layers", f"{call}, inputs {shape}", peer, each["wall_ratio"]
                )

    return rows


def _voting(side, peer):
    def rows():
        for each in _load("voting")["times"]:
            if each["side"] == side:
                case = f"{ENGINES[each['engine']]}, {each['case']}"
                yield _row("voting", case, peer, each["wall_ratio"])

    return rows


def _whitening():
    for peer, ratios in _load("whitening")["ours_over"].items():
        case = "fitting 50,000 × 3,072 features"
        yield _row("whitening", case, f"scikit-learn's {peer}", ratios["wall_s"])


def _augmentation():
    result = _load("augmentation")
    for dtype in ("uint8", "float32"):
        for place, figures in result[dtype].items():
            for peer, title in (
                ("keras", "Keras's layers in a chain"),
                ("albumentations", "albumentations"),
            ):
                faster = figures.get(f"ours_over_{peer}_images_per_s")
                if faster:
                    case = f"64 pictures of 224², {dtype}, {place}"
                    yield _row("augmentation", case, title, round(1 / faster, 2))


READERS = {
    "maxout": [_layers({"Maxout"}, "`Dense` of as many weights")],
    "maxout_conv2d": [_layers({"MaxoutConv2D"}, "`Conv2D` of as many weights")],
    "drop_connect": [_layers({"DropConnect", "per example"}, "the layer alone")],
    "voting_model": [_voting("vote", "ten passes, one a view")],
    "ten_crop": [_voting("vote", "ten passes, one a view")],
    "ensemble": [_voting("ensemble", "its members, one by one")],
    "pca_whitening": [_whitening],
    "image_augmentation": [_augmentation],
}
