"""The tables of Honcho's memory, one module for each."""

from .generation import MemoryGeneration

__all__ = ["MemoryGeneration"]
