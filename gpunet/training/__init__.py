"""Feeding data, the training step, the loop around it, and what watches it."""

__all__ = []
