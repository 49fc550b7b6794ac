"""Models to files and back: config as JSON, arrays as HDF5."""

__all__ = []
