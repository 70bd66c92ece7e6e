"""Every architecture of `keras.applications`, with its preprocessing inside."""

import os
from dataclasses import dataclass

import keras
from keras import layers

from hornbook.errors import InputError
from hornbook.zoo.backbones.backbone import Backbone, describe
from hornbook.zoo.backbones.layer_groups import group_by_block

MEAN, SD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's RGB, 0 to 1
CAFFE_MEAN = (123.68, 116.779, 103.939)  # of ImageNet's RGB, 0 to 255
PREPROCESSING = {
    "tf": "pixels to -1 to 1",
    "torch": "pixels to 0 to 1, then ImageNet's mean and deviation of each channel",
    "caffe": "RGB to BGR, less ImageNet's mean of each channel",
    "inside": "none: the architecture begins with its own",
}


@dataclass(frozen=True)
class Family:
    """Architectures that share a module of `keras.applications`.

    Attributes:
        preprocessing: A key of `PREPROCESSING`.
        paper: The paper that describes the architecture.
        licence: Licence of the weights, from the documentation of Keras.
        block: Regular expression for the names of its blocks, as for `group_by_block`.
        sizes: Dict from the function of each architecture to its image size in pixels.
        ends: Whether `block` matches the ends of blocks, as for `group_by_block`.
    """

    preprocessing: str
    paper: str
    licence: str
    block: str
    sizes: dict[str, int]
    ends: bool = False


def _all(size: int, *names: str) -> dict[str, int]:
    return dict.fromkeys(names, size)


FAMILIES = {
    "convnext": Family(
        "inside",
        "Liu et al., A ConvNet for the 2020s, CVPR 2022",
        "MIT",
        r"stage_\d_block_\d+|downsampling_block_\d",
        _all(
            224,
            "ConvNeXtTiny",
            "ConvNeXtSmall",
            "ConvNeXtBase",
            "ConvNeXtLarge",
            "ConvNeXtXLarge",
        ),
    ),
    "densenet": Family(
        "torch",
        "Huang et al., Densely Connected Convolutional Networks, CVPR 2017",
        "BSD-3-Clause",
        r"conv\d_block\d+|pool\d",
        _all(224, "DenseNet121", "DenseNet169", "DenseNet201"),
    ),
    "efficientnet": Family(
        "inside",
        "Tan and Le, EfficientNet: Rethinking Model Scaling for Convolutional Neural "
        "Networks, ICML 2019",
        "Apache-2.0",
        r"block\d[a-z]+|top",
        {
            "EfficientNetB0": 224,
            "EfficientNetB1": 240,
            "EfficientNetB2": 260,
            "EfficientNetB3": 300,
            "EfficientNetB4": 380,
            "EfficientNetB5": 456,
            "EfficientNetB6": 528,
            "EfficientNetB7": 600,
        },
    ),
    "efficientnet_v2": Family(
        "inside",
        "Tan and Le, EfficientNetV2: Smaller Models and Faster Training, ICML 2021",
        "Apache-2.0",
        r"block\d[a-z]+|top",
        {
            "EfficientNetV2B0": 224,
            "EfficientNetV2B1": 240,
            "EfficientNetV2B2": 260,
            "EfficientNetV2B3": 300,
            "EfficientNetV2S": 384,
            "EfficientNetV2M": 480,
            "EfficientNetV2L": 480,
        },
    ),
    "inception_resnet_v2": Family(
        "tf",
        "Szegedy et al., Inception-v4, Inception-ResNet and the Impact of Residual "
        "Connections on Learning, AAAI 2017",
        "Apache-2.0",
        r"mixed_\d[ab]|block\d+_\d+_ac",
        {"InceptionResNetV2": 299},
        ends=True,
    ),
    "inception_v3": Family(
        "tf",
        "Szegedy et al., Rethinking the Inception Architecture for Computer Vision, "
        "CVPR 2016",
        "Apache-2.0",
        r"^mixed\d+$",
        {"InceptionV3": 299},
        ends=True,
    ),
    "mobilenet": Family(
        "tf",
        "Howard et al., MobileNets: Efficient Convolutional Neural Networks for Mobile "
        "Vision Applications, 2017",
        "Apache-2.0",
        r"(?<=conv_[dp]w_)\d+",
        {"MobileNet": 224},
    ),
    "mobilenet_v2": Family(
        "tf",
        "Sandler et al., MobileNetV2: Inverted Residuals and Linear Bottlenecks, "
        "CVPR 2018",
        "Apache-2.0",
        r"expanded_conv|block_\d+|Conv_1",
        {"MobileNetV2": 224},
    ),
    "mobilenet_v3": Family(
        "inside",
        "Howard et al., Searching for MobileNetV3, ICCV 2019",
        "Apache-2.0",
        r"expanded_conv(_\d+)?|conv_1",
        _all(224, "MobileNetV3Small", "MobileNetV3Large"),
    ),
    "nasnet": Family(
        "tf",
        "Zoph et al., Learning Transferable Architectures for Scalable Image "
        "Recognition, CVPR 2018",
        "Apache-2.0",
        r"_(stem_\d|reduce_\d+|\d+)$",
        {"NASNetMobile": 224, "NASNetLarge": 331},
    ),
    "resnet": Family(
        "caffe",
        "He et al., Deep Residual Learning for Image Recognition, CVPR 2016",
        "MIT",
        r"conv\d_block\d+",
        _all(224, "ResNet50", "ResNet101", "ResNet152"),
    ),
    "resnet_v2": Family(
        "tf",
        "He et al., Identity Mappings in Deep Residual Networks, ECCV 2016",
        "MIT",
        r"conv\d_block\d+",
        _all(224, "ResNet50V2", "ResNet101V2", "ResNet152V2"),
    ),
    "vgg16": Family(
        "caffe",
        "Simonyan and Zisserman, Very Deep Convolutional Networks for Large-Scale "
        "Image Recognition, ICLR 2015",
        "CC-BY-4.0",
        r"block\d",
        {"VGG16": 224},
    ),
    "vgg19": Family(
        "caffe",
        "Simonyan and Zisserman, Very Deep Convolutional Networks for Large-Scale "
        "Image Recognition, ICLR 2015",
        "CC-BY-4.0",
        r"block\d",
        {"VGG19": 224},
    ),
    "xception": Family(
        "tf",
        "Chollet, Xception: Deep Learning with Depthwise Separable Convolutions, "
        "CVPR 2017",
        "MIT",
        r"block\d+",
        {"Xception": 299},
    ),
}


def snake(name: str) -> str:
    """The name of an architecture as it stands in an id.

    Example:

    >>> [snake(name) for name in ("MobileNetV3Small", "ResNet50V2", "VGG16")]
    ['mobilenet_v3_small', 'resnet50_v2', 'vgg16']
    """
    import re

    name = name.replace("NeXt", "next").replace("Net", "net").replace("NAS", "Nas")
    name = name.replace("VGG", "Vgg").replace("XLarge", "Xlarge")
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower().replace("res_net", "resnet")


ARCHITECTURES = {
    snake(name): (family, name)
    for family, each in FAMILIES.items()
    for name in each.sizes
}


def preprocess(pixels: keras.KerasTensor, mode: str) -> keras.KerasTensor:
    """The preprocessing of a family as Keras layers.

    Args:
        pixels: A `keras.KerasTensor` of raw RGB pixels, channels last.
        mode: A key of `PREPROCESSING`.
    """
    if mode == "tf":
        return layers.Rescaling(1 / 127.5, offset=-1, name="rescale")(pixels)
    if mode == "torch":
        scale = [1 / (255 * sd) for sd in SD]
        offset = [-mean / sd for mean, sd in zip(MEAN, SD, strict=True)]
        return layers.Rescaling(scale, offset=offset, name="rescale")(pixels)
    if mode == "caffe":
        offset = [-mean for mean in CAFFE_MEAN]
        x = layers.Rescaling(1.0, offset=offset, name="centre")(pixels)
        return keras.ops.flip(x, axis=-1)
    return pixels


def open_application(
    name: str,
    input_shape: tuple[int, int, int] | None = None,
    weights: str | os.PathLike | None = "default",
) -> Backbone:
    """Builds an architecture of `keras.applications` without its head.

    Args:
        name: A key of `ARCHITECTURES`.
        input_shape: `(height, width, 3)`. Defaults to the size of the paper.
        weights: "default" (ImageNet's, from Keras's cache or the network), `None`
            (random weights) or the path of a weights file for the same layers.

    Returns:
        A `Backbone`.

    Raises:
        InputError: If the name is unknown, or the weights cannot be loaded.
    """
    if name not in ARCHITECTURES:
        raise InputError(
            "keras.applications has no architecture of this name; it has "
            f"{', '.join(sorted(ARCHITECTURES))}. Received: keras/{name}"
        )
    module, function = ARCHITECTURES[name]
    family = FAMILIES[module]
    size = family.sizes[function]
    shape = input_shape or (size, size, 3)
    if shape[-1] != 3:
        raise InputError(
            f"keras/{name} takes images with three channels. "
            f"Received: input_shape={shape}"
        )
    pixels = keras.Input(shape, name="image")
    body = _build(function, shape, weights)
    features = body(preprocess(pixels, family.preprocessing))
    model = keras.Model(pixels, features, name=name)
    pairs = [(layer.name, layer.trainable_variables) for layer in body.layers]
    groups = group_by_block(pairs, family.block, ends=family.ends)
    card = {
        "id": f"keras/{name}",
        "family": module,
        **describe(model, groups),
        "preprocessing": PREPROCESSING[family.preprocessing],
        "weights": "ImageNet, from keras.applications",
        "licence": family.licence,
        "paper": family.paper,
    }
    return Backbone(card["id"], model, groups, card)


def _build(
    function: str,
    input_shape: tuple[int, int, int],
    weights: str | os.PathLike | None,
) -> keras.Model:
    """The architecture with its weights, up to the global average pooling."""
    build = getattr(keras.applications, function)
    try:
        return build(
            include_top=False,
            weights="imagenet" if weights == "default" else weights,
            input_shape=input_shape,
            pooling="avg",
        )
    except Exception as error:
        raise InputError(
            f"keras.applications.{function} cannot be built: {error} "
            f"Received: input_shape={input_shape}, weights={weights}"
        ) from error
