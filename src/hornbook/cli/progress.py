"""Bars on a terminal."""

from hornbook.progress import Bars

__all__ = ["Bars"]
