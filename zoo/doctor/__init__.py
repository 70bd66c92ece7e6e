"""The training doctor: finds problems in a model or a training, and what to change."""

from hornbook.zoo.doctor.diagnose import Diagnosis, diagnose, diagnose_history
from hornbook.zoo.doctor.finding import Finding
from hornbook.zoo.doctor.review import review
from hornbook.zoo.doctor.training_log import read_table

__all__ = [
    "Diagnosis",
    "Finding",
    "diagnose",
    "diagnose_history",
    "read_table",
    "review",
]
