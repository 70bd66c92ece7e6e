"""Fixed views, votes and ensembles at test time."""

from hornbook.recipes.inference.ensemble import Ensemble
from hornbook.recipes.inference.recalibrate_batchnorm import recalibrate_batchnorm
from hornbook.recipes.inference.ten_crop import TenCrop
from hornbook.recipes.inference.voting_model import VotingModel

__all__ = [
    "Ensemble",
    "TenCrop",
    "VotingModel",
    "recalibrate_batchnorm",
]
