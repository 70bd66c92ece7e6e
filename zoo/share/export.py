"""Exports a fine-tuned model for other programs, and compares the outputs there."""

import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from hornbook.errors import InputError
from hornbook.zoo.keras_file import load_keras_file

TOLERANCE = 1e-4  # of probabilities: other programs add in another order
PICTURES = 4


@dataclass(frozen=True)
class Format:
    """A format that `keras.Model.export` writes.

    Attributes:
        name: Its name in Keras.
        ending: Ending of the path.
        open: Function from the path to a function from images to outputs.
        packages: Packages to install for it.
        arguments: Function that returns further arguments of `export`, which keep the
            batch size variable.
    """

    name: str
    ending: str
    open: Callable
    packages: str
    arguments: Callable[[], dict] = dict


@dataclass(frozen=True)
class Exported:
    """Result of an export.

    Attributes:
        path: Path of the file or folder.
        megabytes: Size of the files in 10^6 bytes.
        shape: Shape of an image, such as "36×36×3".
        difference: Largest difference of an output from that of the model.
        checked: Number of images that were compared.
    """

    path: Path
    megabytes: float
    shape: str
    difference: float
    checked: int


def _open_savedmodel(path: Path) -> Callable:
    import tensorflow as tf

    served = tf.saved_model.load(str(path))
    # The object is kept alive, since it holds the variables of the function.
    return lambda pictures: served.serve(pictures).numpy()


def _open_onnx(path: Path) -> Callable:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path))
    name = session.get_inputs()[0].name
    return lambda pictures: session.run(None, {name: pictures})[0]


def _open_openvino(path: Path) -> Callable:
    import openvino

    # The default is bfloat16 on processors that have it.
    hint = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(str(path), "CPU", hint)
    return lambda pictures: compiled(pictures)[0]


def _open_tflite(path: Path) -> Callable:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path))
    [into], [out] = interpreter.get_input_details(), interpreter.get_output_details()

    def run(pictures: np.ndarray) -> np.ndarray:
        interpreter.resize_tensor_input(into["index"], pictures.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(into["index"], pictures)
        interpreter.invoke()
        return interpreter.get_tensor(out["index"])

    return run


def _open_torch(path: Path) -> Callable:
    import torch

    module = torch.export.load(str(path)).module()
    return lambda pictures: module(torch.tensor(pictures)).numpy(force=True)


def _variable_batch() -> dict[str, Any]:
    import torch

    batch = torch.export.Dim("batch", min=1, max=1 << 16)
    return {"dynamic_shapes": {0: batch}}


FORMATS = {
    "savedmodel": Format("tf_saved_model", "", _open_savedmodel, "tensorflow"),
    "onnx": Format("onnx", ".onnx", _open_onnx, "'hornbook[export]'"),
    "tflite": Format("litert", ".tflite", _open_tflite, "'hornbook[export]'"),
    "openvino": Format("openvino", ".xml", _open_openvino, "'hornbook[export]'"),
    "torch": Format("torch", ".pt2", _open_torch, "'hornbook[torch]'", _variable_batch),
}


def export_run(
    run: str | os.PathLike,
    format: str,
    out: str | os.PathLike | None = None,
    size: int | None = None,
    safe_mode: bool = True,
) -> Exported:
    """Exports the model of a finished run, or of a folder that `zoo pull` made.

    Args:
        run: Path of the folder.
        format: A key of `FORMATS`.
        out: Path of the file or folder to write. Defaults to one in the run folder.
        size: Side in pixels of the images that the exported model takes, which other
            programs must know. Defaults to the size in training.
        safe_mode: Whether to refuse a model file that carries code.

    Returns:
        An `Exported`.

    Raises:
        InputError: If the model cannot be opened or exported, or its outputs differ;
            then nothing is written.
    """
    run = Path(run)
    file = run / "model.keras"
    if not file.is_file():
        raise InputError(f"The folder has no model.keras. Received: {run}")
    model = load_keras_file(file, safe_mode)
    if len(model.inputs) > 1 or len(model.input_shape) != 4:
        raise InputError(
            f"Only models for images can be exported. Received: {model.input_shape}"
        )
    size = size or model.input_shape[1] or _trained_size(run)
    ending = FORMATS[format].ending
    return export_model(model, format, out or run / f"export-{format}{ending}", size)


def _trained_size(run: Path) -> int:
    try:
        config = json.loads((run / "config.json").read_text(encoding="utf-8"))
        return int(config["picture_size"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"The image size of the run is unknown; pass --size. Received: {run}"
        ) from error


def make_exportable(model: keras.Model, size: int) -> keras.Model:
    """A model for images of one size, that is always called in inference mode.

    If the model begins by resizing images to that very size, the layer is left out:
    ONNX has no such operation.

    A model that begins with one of Keras's image layers runs in training mode when it
    is called without `training`, as exports call it: all layers inherit the default of
    the first one, `True`.

    Args:
        model: A functional `keras.Model` for images.
        size: Side of the images in pixels.

    Returns:
        A `keras.Model` from `(batch, size, size, channels)` to the same outputs.
    """
    [picture] = model.inputs
    fixed = keras.Input((size, size, picture.shape[-1]), dtype="uint8", name="picture")
    x, first = fixed, model.layers[1]
    if (
        isinstance(first, keras.layers.Resizing)
        and (first.height, first.width) == (size, size)
        and first.input is picture
    ):
        model = keras.Model(first.output, model.output)
        x = keras.ops.cast(x, first.compute_dtype)
    model = keras.Model(fixed, model(x, training=False))
    model(
        np.zeros((1, *fixed.shape[1:]), "uint8")
    )  # ONNX needs a model that was called
    return model


def export_model(
    model: keras.Model, format: str, out: str | os.PathLike, size: int
) -> Exported:
    """Exports a model, and compares its outputs on random images.

    Args:
        model: A `keras.Model` for images, with one output.
        format: A key of `FORMATS`.
        out: Path of the file or folder to write.
        size: Side in pixels of the images that the exported model takes.

    Returns:
        An `Exported`.

    Raises:
        InputError: As for `export_run`.
    """
    form, out = FORMATS[format], Path(out)
    if out.exists():
        raise InputError(
            f"The output exists already; choose another --out. Received: {out}"
        )
    if out.suffix != form.ending and form.ending:
        raise InputError(f"--out must end in {form.ending}. Received: {out}")
    out.parent.mkdir(parents=True, exist_ok=True)
    exportable = make_exportable(model, size)
    with tempfile.TemporaryDirectory(prefix=".new-", dir=out.parent) as folder:
        new = Path(folder) / out.name
        try:
            exportable.export(
                str(new), format=form.name, verbose=False, **form.arguments()
            )
            run = form.open(new)
        except ImportError as error:
            raise InputError(
                f"Exporting to {format} needs more packages: pip install "
                f"{form.packages} ({error})"
            ) from error
        except Exception as error:
            reason = str(error).strip().partition("\n")[0]
            raise InputError(
                f"Keras {keras.__version__} on {keras.backend.backend()} cannot "
                f"export this model to {format}: {type(error).__name__}: {reason}"
            ) from error
        difference = _compare(model, run, size)
        if not difference <= TOLERANCE:
            raise InputError(
                f"The outputs of the model exported to {format} differ by "
                f"{difference:.1e}, so it is not kept. Received: {out}"
            )
        files = [each for each in Path(folder).rglob("*") if each.is_file()]
        megabytes = sum(each.stat().st_size for each in files) / 1e6
        for each in Path(folder).iterdir():  # OpenVINO writes two files
            os.replace(each, out.parent / each.name)
    shape = "×".join(str(side) for side in exportable.input_shape[1:])
    return Exported(out, megabytes, shape, difference, PICTURES)


def _compare(model: keras.Model, run: Callable, size: int) -> float:
    """The largest difference between the outputs of a model and of its export."""
    shape = (PICTURES, size, size, model.input_shape[-1])
    pictures = np.random.default_rng(0).integers(0, 256, shape, dtype="uint8")
    want = model.predict(pictures, verbose=0)
    batches = [pictures[[place]] for place in range(PICTURES)]
    one_by_one = np.concatenate([np.asarray(run(each)) for each in batches])
    outputs = (one_by_one, np.asarray(run(pictures)))
    return float(np.max([np.abs(each - want) for each in outputs]))
