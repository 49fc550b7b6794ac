"""Batches that come from elsewhere than arrays, and who fetches them ahead of training."""

__all__ = []
