"""The tables of Honcho's memory, one module for each."""

from .generation import MemoryGeneration
from .recall import Recall
from .write import HonchoWrite

__all__ = ["HonchoWrite", "MemoryGeneration", "Recall"]
