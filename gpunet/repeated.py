"""Code written for a graph that is built once, run as it is at every step.

Optimizers of classic Keras are such code: `get_updates` makes variables and says which values
are to be written into them.  Run again and again inside `Repeated`, it gets the same variables
each time, and all it reads is what was there before the step.
"""

from contextvars import ContextVar

from gpunet.errors import ShapeError
from gpunet.tensor import Shape

__all__ = ["Repeated", "current"]

_current = ContextVar("gpunet_repeated", default=None)


def current():
    """Return the `Repeated` at work, or None."""
    return _current.get()


class Repeated:
    """Context of code that is run anew at each step.

    Attributes:
        variables: list of the Variables that it made, in order.
    """

    def __init__(self):
        self.variables = []
        self._count = 0
        self._writes = []

    def __enter__(self):
        self._count, self._writes = 0, []
        self._token = _current.set(self)
        return self

    def __exit__(self, *_):
        _current.reset(self._token)

    def variable(self, make):
        """Return the variable made at this place of the code, by a function the first time."""
        if self._count == len(self.variables):
            self.variables.append(make())
        self._count += 1
        return self.variables[self._count - 1]

    def later(self, write, value):
        """Note a method of a variable that takes a value when the code has ended."""
        self._writes.append((write, value))

    def finish(self):
        """Write all that was noted, or nothing.

        Raises:
            ShapeError: a value that is neither a number nor of its variable's shape.
        """
        for write, value in self._writes:
            variable, shape = write.__self__, tuple(getattr(value, "shape", ()))
            if shape not in ((), tuple(variable.shape)):
                raise ShapeError(
                    f"update of variable {variable.name!r}: expected shape {variable.shape}, "
                    f"got {Shape(shape)}"
                )
        for write, value in self._writes:
            write(value)
