"""A fine-tuned model for other programs, checked to answer there as it does here."""

import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from hornbook.errors import InputError
from hornbook.zoo.keras_file import load_keras_file

TOLERANCE = 1e-4  # of probabilities: other programs add up in another order
PICTURES = 4


@dataclass(frozen=True)
class Format:
    """A format that `keras.Model.export` writes.

    Attributes:
        name: What Keras calls it.
        ending: Of the path.
        open: Function from the path to a function from pictures to outputs.
        packages: What to install for it.
        arguments: Function that gives what else `export` must be told so that the
            number of pictures at once stays open.
    """

    name: str
    ending: str
    open: Callable
    packages: str
    arguments: Callable[[], dict] = dict


@dataclass(frozen=True)
class Exported:
    """What was exported.

    Attributes:
        path: Where.
        megabytes: Of the files, 10^6 bytes.
        shape: Of a picture, such as "36×36×3".
        difference: The largest of any output from the model's.
        checked: How many pictures were compared.
    """

    path: Path
    megabytes: float
    shape: str
    difference: float
    checked: int


def _open_savedmodel(path):
    import tensorflow as tf

    served = tf.saved_model.load(str(path))
    # The function goes with the object that holds its variables.
    return lambda pictures: served.serve(pictures).numpy()


def _open_onnx(path):
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path))
    name = session.get_inputs()[0].name
    return lambda pictures: session.run(None, {name: pictures})[0]


def _open_openvino(path):
    import openvino

    # In float32: by itself it computes in bfloat16 where the processor can.
    hint = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(str(path), "CPU", hint)
    return lambda pictures: compiled(pictures)[0]


def _open_tflite(path):
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path))
    [into], [out] = interpreter.get_input_details(), interpreter.get_output_details()

    def run(pictures):
        interpreter.resize_tensor_input(into["index"], pictures.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(into["index"], pictures)
        interpreter.invoke()
        return interpreter.get_tensor(out["index"])

    return run


def _open_torch(path):
    import torch

    module = torch.export.load(str(path)).module()
    return lambda pictures: module(torch.tensor(pictures)).numpy(force=True)


def _open_batch():
    import torch

    batch = torch.export.Dim("batch", min=1, max=1 << 16)
    return {"dynamic_shapes": {0: batch}}


FORMATS = {
    "savedmodel": Format("tf_saved_model", "", _open_savedmodel, "tensorflow"),
    "onnx": Format("onnx", ".onnx", _open_onnx, "'hornbook[export]'"),
    "tflite": Format("litert", ".tflite", _open_tflite, "'hornbook[export]'"),
    "openvino": Format("openvino", ".xml", _open_openvino, "'hornbook[export]'"),
    "torch": Format("torch", ".pt2", _open_torch, "'hornbook[torch]'", _open_batch),
}


def export_run(run, format, out=None, size=None, safe_mode=True):
    """Exports the model of a finished run, or of a folder that `zoo pull` made.

    Args:
        run: Path of the folder.
        format: A key of `FORMATS`.
        out: Path of the file or folder to make; None for one in the run folder.
        size: Side of the pictures that the exported model takes; None for the size at
            which it was trained. Other programs want to know it.
        safe_mode: Whether to refuse a model file that carries code.

    Returns:
        An `Exported`.

    Raises:
        InputError: if the model can't be opened or exported, or gives other outputs;
            then nothing is left behind.
    """
    run = Path(run)
    file = run / "model.keras"
    if not file.is_file():
        raise InputError(f"The folder has no model.keras: {run}")
    model = load_keras_file(file, safe_mode)
    if len(model.inputs) > 1 or len(model.input_shape) != 4:
        raise InputError(
            f"Only models of pictures can be exported. Received: {model.input_shape}"
        )
    size = size or model.input_shape[1] or _trained_size(run)
    ending = FORMATS[format].ending
    return export_model(model, format, out or run / f"export-{format}{ending}", size)


def _trained_size(run):
    try:
        config = json.loads((run / "config.json").read_text(encoding="utf-8"))
        return int(config["image_size"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"The run does not tell the size of its pictures; say it with --size: {run}"
        ) from error


def make_exportable(model, size):
    """The model for pictures of one size, that always answers as in use.

    Where the model begins by scaling its pictures to that very size, it is left out:
    ONNX has no such operation.

    A model that begins with one of Keras's picture layers trains when it is called
    without `training`, as exports call it: the layer's default, True, is taken over by
    all that follow.

    Args:
        model: A functional `keras.Model` of pictures.
        size: Side of the pictures, in pixels.

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
    model(np.zeros((1, *fixed.shape[1:]), "uint8"))  # for ONNX it must have been called
    return model


def export_model(model, format, out, size):
    """Exports a model, and compares its outputs on random pictures.

    Args:
        model: A `keras.Model` of pictures, with one output.
        format: A key of `FORMATS`.
        out: Path of the file or folder to make.
        size: Side of the pictures that the exported model takes, in pixels.

    Returns:
        An `Exported`.

    Raises:
        InputError: as `export_run`.
    """
    form, out = FORMATS[format], Path(out)
    if out.exists():
        raise InputError(f"It is there already; choose another --out. Received: {out}")
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
                f"Exporting to {format} needs more: pip install {form.packages} "
                f"({error})"
            ) from error
        except Exception as error:
            reason = str(error).strip().partition("\n")[0]
            raise InputError(
                f"Keras {keras.__version__} on {keras.backend.backend()} can't export "
                f"this model to {format}: {type(error).__name__}: {reason}"
            ) from error
        difference = _compare(model, run, size)
        if not difference <= TOLERANCE:
            raise InputError(
                f"The model exported to {format} gives other outputs, by "
                f"{difference:.1e}; it is not kept."
            )
        files = [each for each in Path(folder).rglob("*") if each.is_file()]
        megabytes = sum(each.stat().st_size for each in files) / 1e6
        for each in Path(folder).iterdir():  # OpenVINO writes two files
            os.replace(each, out.parent / each.name)
    shape = "×".join(str(side) for side in exportable.input_shape[1:])
    return Exported(out, megabytes, shape, difference, PICTURES)


def _compare(model, run, size):
    """The largest difference between a model's outputs and those of its export."""
    shape = (PICTURES, size, size, model.input_shape[-1])
    pictures = np.random.default_rng(0).integers(0, 256, shape, dtype="uint8")
    want = model.predict(pictures, verbose=0)
    batches = [pictures[[place]] for place in range(PICTURES)]
    one_by_one = np.concatenate([np.asarray(run(each)) for each in batches])
    outputs = (one_by_one, np.asarray(run(pictures)))
    return float(np.max([np.abs(each - want) for each in outputs]))
