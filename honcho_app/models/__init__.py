"""The tables of Honcho's memory, one module for each."""

from .generation import MemoryGeneration
from .recall import Recall
from .upload import MemoryUpload
from .write import HonchoWrite

__all__ = ["HonchoWrite", "MemoryGeneration", "MemoryUpload", "Recall"]
