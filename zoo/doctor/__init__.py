"""The training doctor: what is wrong with a model or a run, and what to change."""

from hornbook.zoo.doctor.finding import Finding
from hornbook.zoo.doctor.review import review

__all__ = ["Finding", "review"]
