"""Random views of images while training."""

from hornbook.recipes.augmentation.image_augmentation import ImageAugmentation
from hornbook.recipes.augmentation.random_crop import RandomCrop
from hornbook.recipes.augmentation.random_resized_crop import RandomResizedCrop
from hornbook.recipes.augmentation.scale_jitter import ScaleJitter

__all__ = [
    "ImageAugmentation",
    "RandomCrop",
    "RandomResizedCrop",
    "ScaleJitter",
]
