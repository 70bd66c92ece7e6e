"""Fixed views, votes and ensembles at test time."""

from hornbook.recipes.inference.ensemble import Ensemble
from hornbook.recipes.inference.full_image_view import FullImageView
from hornbook.recipes.inference.greedy_soup import greedy_soup
from hornbook.recipes.inference.multi_scale_views import MultiScaleViews
from hornbook.recipes.inference.recalibrate_batchnorm import recalibrate_batchnorm
from hornbook.recipes.inference.ten_crop import TenCrop
from hornbook.recipes.inference.voting_model import VotingModel
from hornbook.recipes.inference.voting_report import voting_report

__all__ = [
    "Ensemble",
    "FullImageView",
    "MultiScaleViews",
    "TenCrop",
    "VotingModel",
    "greedy_soup",
    "recalibrate_batchnorm",
    "voting_report",
]
