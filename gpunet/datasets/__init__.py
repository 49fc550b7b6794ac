"""Data sets that come with the package or are fetched on first use."""

from . import digits

__all__ = ["digits"]
