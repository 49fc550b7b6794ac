"""Differentiation: ops, the tape that joins them, and what users see of it.

An op is a forward function ``f(xp, *arrays, **options) -> (y, saved)`` and a backward
function ``g(xp, saved, gy, needs) -> one gradient per array``.  Calling it on Tensors runs
the forward function and, while a tape is active and an input is tracked, appends one entry
to the tape.  Walking the entries backwards gives gradients.

For second derivatives the walk itself is recorded: the pair is run once more with a
namespace `taped` in place of ``xp``, whose functions are ops again.

`op` has the ops, `tape` the record and the walk, `gradient_tape` the public classes, `recorded`
functions that are replayed without all of that.
"""

from gpunet.autodiff.gradient_tape import GradientTape, custom_gradient
from gpunet.autodiff.op import Fusion, Op, differentiable, watcher
from gpunet.autodiff.recorded import Recorded
from gpunet.autodiff.tape import Tape, no_tape, recording, taped, unbroadcast

__all__ = [
    "Fusion",
    "GradientTape",
    "Op",
    "Recorded",
    "Tape",
    "custom_gradient",
    "differentiable",
    "no_tape",
    "recording",
    "taped",
    "unbroadcast",
    "watcher",
]
