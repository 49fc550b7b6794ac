"""Sessions, graphs and options of TensorFlow 1, as scripts hand them around before they use Keras.

There is nothing for them to do here: what they are told is kept and has no effect.
"""

import contextlib

from gpunet.context import reset_uids
from gpunet.tensor import Tensor

__all__ = [
    "ConfigProto",
    "GPUOptions",
    "Graph",
    "InteractiveSession",
    "Session",
    "get_default_graph",
    "global_variables_initializer",
    "reset_default_graph",
    "FOR_BACKEND",
]


class ConfigProto:
    """Options of a session; any attribute can be read and set."""

    def __init__(self, **options):
        vars(self).update(options)

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        made = vars(self)[name] = ConfigProto()
        return made


class GPUOptions(ConfigProto):
    """Options of the GPU."""


class Graph:
    """A place for operations, of which there is only one here."""

    @contextlib.contextmanager
    def as_default(self):
        """Do nothing, in a ``with`` block."""
        yield self

    def finalize(self):
        """Do nothing."""


class Session(Graph):
    """What TensorFlow 1 ran its operations in."""

    def __init__(self, target="", graph=None, config=None):
        self.graph = graph or get_default_graph()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        return None

    def close(self):
        """Do nothing."""

    def run(self, fetches, feed_dict=None, options=None, run_metadata=None):
        """Return values of variables; nothing else can be run.

        Raises:
            NotImplementedError: something that isn't computed yet.
        """
        if fetches is None:  # what initializers are here
            return None
        if isinstance(fetches, (list, tuple)):
            return [self.run(f, feed_dict) for f in fetches]
        if feed_dict or not isinstance(fetches, Tensor):
            raise NotImplementedError(
                f"Session.run of {fetches!r}: gpunet computes at once; what belongs to a graph is "
                "computed by keras.backend.function(inputs, outputs)"
            )
        return fetches.numpy()


InteractiveSession = Session

_graph = Graph()
_session = None


def get_default_graph():
    """Return the one Graph."""
    return _graph


def global_variables_initializer():
    """Return None: variables have their values from the beginning."""


def reset_default_graph():
    """Start the counters of names anew."""
    reset_uids()


def set_session(session):
    """Keep a session for `get_session`."""
    global _session
    _session = session


def get_session(op_input_list=()):
    """Return the session that was set, or a new one."""
    return _session or Session()


FOR_BACKEND = {
    "get_session": get_session,
    "set_session": set_session,
    "manual_variable_initialization": lambda value: None,
}
