"""The name under which Keras has learning-rate schedules; see `gpunet.schedules`."""

from gpunet.schedules import *  # noqa: F403
from gpunet.schedules import __all__  # noqa: F401
