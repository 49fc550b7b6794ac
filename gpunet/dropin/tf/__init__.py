"""The functions of TensorFlow that Keras scripts use."""

__all__ = []
