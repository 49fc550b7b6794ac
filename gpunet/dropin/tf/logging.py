"""tf.logging: how much is said."""

import logging as _logging

__all__ = ["DEBUG", "ERROR", "FATAL", "INFO", "WARN", "set_verbosity"]

DEBUG, INFO, WARN, ERROR, FATAL = 10, 20, 30, 40, 50


def set_verbosity(v):
    """Set the level of gpunet's logger."""
    _logging.getLogger("gpunet").setLevel(v)
