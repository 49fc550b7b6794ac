"""Benchmarks: ``python -m benchmarks`` prints tables and can write JSON."""

__all__ = []
