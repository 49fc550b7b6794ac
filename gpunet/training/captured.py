"""Recorded steps as CUDA graphs: on a GPU a step costs the GPU's time and none of Python's.

The third time that inputs of one kind come, the replay of a recorded function is captured; from
then on its graph is launched.  What can't be captured goes on as it is, and one line in the log
says why.
"""

import logging

from gpunet import arrays, recording
from gpunet.autodiff.tape import recording as taping
from gpunet.tensor import Tensor

__all__ = ["Captured"]

_log = logging.getLogger("gpunet")
_WARM = 2  # runs before a capture: by then kernels are compiled and all state has its storage
_KINDS = 32  # of inputs that have graphs, those that came last
_CHANGES = 20  # of options, after which nothing is captured any more
_STEPS = 32  # at most in one graph that holds several
_LINES = 2048  # of a recording, all steps of such a graph together


class Captured:
    """A `Recorded` function whose replays become graphs.

    Args:
        recorded: `Recorded`.
        device: Device that it runs on.
        graphs: `Graphs` of it, which functions may share.
        assumed: function () -> tuple of options that a graph takes for granted.
        refusal: function () -> why there can't be graphs, or None.

    Attributes:
        reason: str, why there are no graphs, or None.
    """

    def __init__(self, recorded, device, graphs, assumed, refusal):
        self.recorded, self.device = recorded, device
        self.assumed, self.refusal = assumed, refusal
        self.reason = None
        self._graphs, self._lock = graphs, graphs.lock
        self._programs = {}
        self._edits, self._taken, self._changes = recording.edits, None, 0

    def __call__(self, *inputs):
        """Return the function's results as a list of arrays and Nones, as `Recorded` does."""
        with self._lock:
            kind = tuple([None if t is None else (t.array.shape, t.array.dtype) for t in inputs])
            program = self._program(kind)
            if program is None:
                return self.recorded(*inputs)
            if program.runs < _WARM:
                program.runs += 1
                return self.recorded(*inputs)
            if program.rooms is None:
                program.rooms = [None if t is None else Tensor(t.array.copy()) for t in inputs]
            graph = self._graph(program, lambda: program.rooms, 1)
            if graph is None:
                return self.recorded(*inputs)
            for room, t in zip(program.rooms, inputs):
                if t is not None:
                    room.array[...] = t.array
            return self._launch(graph)[0]

    @property
    def can(self):
        """bool, whether there may be graphs, as far as is known."""
        return self.reason is None and self.recorded.reason is None

    def steps(self, source, rows, times):
        """Run the function several times, on rows that come from memory of the device.

        Args:
            source: `Resident`, or what is like it.
            rows: int, how many to take each time.
            times: int.

        Returns:
            List of the results of each time.
        """
        with self._lock:
            program = self._of_source(source, rows)
            found = []
            while len(found) < times:
                left = times - len(found)
                graph = None
                if program is not None and program.runs >= _WARM:
                    most = self._most(program)
                    count = most if left >= most else 1
                    graph = self._graph(program, lambda: source.take(rows), count)
                    program = program if graph is not None else None
                if graph is not None:
                    found += self._launch(graph)
                    continue
                inputs = source.take(rows)
                found.append(self.recorded(*inputs))
                if program is not None:
                    program.runs += 1
                    program.lines = self.recorded.lines(*inputs)
            return found

    def most(self, source, rows):
        """Return how many steps a launch should have for inputs that `steps` takes."""
        program = self._of_source(source, rows)
        return 1 if program is None or program.runs < _WARM else self._most(program)

    def _of_source(self, source, rows):
        held = source.arrays()
        program = self._program((*map(id, held), source.kind(), rows))
        if program is not None:
            program.held = held  # so that no other array gets one of these numbers
        return program

    def _most(self, program):
        most = max(1, min(_STEPS, _LINES // max(program.lines, 1)))
        return 1 << (most.bit_length() - 1)

    def forget(self):
        """Drop the graphs."""
        with self._lock:
            self._programs.clear()

    def _program(self, key):
        """Return the `_Program` for a kind of inputs, None if it isn't to be captured."""
        if taping() or recording.current() is not None:
            return None
        assumed = self.assumed()
        if (self._edits, self._taken) != (recording.edits, assumed):
            if self._programs or self.reason is not None:
                self._changes += 1
                self.reason = None
            self._programs.clear()
            self._edits, self._taken = recording.edits, assumed
            if self._changes > _CHANGES:
                self._refuse("its options keep changing")
        if arrays.current_device() != self.device:
            self._programs.clear()  # what moves with the device is about to
            return None
        if self.reason is not None or self.recorded.reason is not None:
            return None
        program = self._programs.pop(key, None)
        if program is None:
            reason = self.refusal()
            if reason is not None:
                self._refuse(reason)
                return None
            program = _Program()
            if len(self._programs) == _KINDS:
                del self._programs[next(iter(self._programs))]
        self._programs[key] = program  # behind the others
        return program

    def _graph(self, program, take, times):
        """Return (graph, results of each time); None if it can't be captured."""
        made = program.graphs.get(times)
        if made is None:
            if self.recorded.reason is not None:
                return None

            def steps():
                return [self.recorded(*take()) for _ in range(times)]

            try:
                made = self._graphs.capture(steps)
            except Exception as error:
                self._refuse(f"{type(error).__name__}: {error}")
                return None
            program.graphs[times] = made
        return made

    def _launch(self, made):
        graph, results = made
        self._graphs.launch(graph)
        # Copies: the next launch writes over them, and their memory is the graph's.
        return [[None if a is None else a.copy() for a in result] for result in results]

    def _refuse(self, reason):
        self.reason = reason
        self._programs.clear()
        _log.info("%s runs without a CUDA graph: %s", self.recorded.name, reason)


class _Program:
    """What there is for one kind of inputs.

    Attributes:
        runs: int, how often it ran without a graph.
        lines: int, lines of its recording.
        rooms: list of Tensors that graphs read, or None.
        held: list of arrays that graphs read, or None.
        graphs: dict number of steps -> (graph, results).
    """

    __slots__ = ("runs", "lines", "rooms", "held", "graphs")

    def __init__(self):
        self.runs, self.lines, self.graphs = 0, 1, {}
        self.rooms = self.held = None
