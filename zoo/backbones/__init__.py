"""Any Keras backbone as one thing: raw pixels in, features out, ready for a head."""

from hornbook.zoo.backbones.backbone import Backbone
from hornbook.zoo.backbones.open_backbone import open_backbone

__all__ = ["Backbone", "open_backbone"]
