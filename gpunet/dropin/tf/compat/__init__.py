"""tf.compat."""

__all__ = []
