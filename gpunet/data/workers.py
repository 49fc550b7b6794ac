"""Processes that hold a copy of a Sequence and hand out its batches.

They are spawned, never forked: a forked child can't use the GPU of its parent, and inherits locks
that nobody will release.  A process ends when its pipe does, so that none outlives its parent.
"""

import multiprocessing
import pickle
import signal
from multiprocessing.reduction import ForkingPickler

from gpunet.errors import GpunetError, warn

__all__ = ["Crew", "WorkerError"]

_LOAD = "load"


class WorkerError(GpunetError, RuntimeError):
    """A worker process ended before its work did."""


class _CannotStart(Exception):
    """Worker processes are of no use here; the text says why."""


class Crew:
    """Workers for one Sequence: processes where it can be pickled, else the caller's threads.

    Args:
        source: object with ``__getitem__``.
        count: int, number of workers.
        processes: bool, whether processes are wanted.
        what: str, who asks, for warnings.
    """

    def __init__(self, source, count, processes, what):
        self.source, self.workers = source, []
        self._seed = _draw_seed() if processes else None
        if processes:
            try:
                self._start(count)
            except _CannotStart as reason:
                self.close()
                warn(
                    f"{what}: use_multiprocessing=True falls back to threads: {reason}",
                )
        self.count = count

    def _start(self, count):
        payload = _pickled(self.source)
        context = multiprocessing.get_context("spawn")
        try:
            for i in range(count):
                self.workers.append(Worker(context, i))
        except (OSError, RuntimeError) as error:
            raise _CannotStart(f"a process can't be started ({error})") from None
        for worker in self.workers:
            worker.send(payload)
        for worker in self.workers:
            worker.loaded()

    def renew(self):
        """Give the workers the source as it is now."""
        if self.workers:
            payload = _pickled(self.source)
            for worker in self.workers:
                worker.send(payload)
            for worker in self.workers:
                worker.loaded()

    def fetches(self, epoch):
        """Return a function (index) -> batch for each worker.

        Args:
            epoch: int; random numbers in processes depend on it, and on the index.
        """
        if not self.workers:
            return [self.source.__getitem__] * self.count
        return [lambda index, w=w: w.fetch(index, (self._seed, epoch, index)) for w in self.workers]

    def close(self):
        """End the processes at once."""
        for worker in self.workers:
            worker.kill()
        self.workers = []


def _draw_seed():
    import numpy as np

    return int(np.random.randint(2**31))


def _pickled(source):
    try:
        return bytes(ForkingPickler.dumps(source))
    except Exception as error:  # whatever an object's own __reduce__ raises
        kind = type(source).__name__
        raise _CannotStart(f"{kind} can't be pickled ({_line(error)})") from None


def _line(error):
    return f"{type(error).__name__}: {error}".partition("\n")[0]


class Worker:
    """One process, seen from its parent.

    Args:
        context: multiprocessing context.
        number: int, for its name.
    """

    def __init__(self, context, number):
        self._pipe, theirs = context.Pipe()
        try:
            self.process = context.Process(
                target=_serve, args=(theirs,), name=f"gpunet-worker-{number}", daemon=True
            )
            self.process.start()
        except BaseException:
            self._pipe.close()
            raise
        finally:
            theirs.close()

    def send(self, payload):
        """Send the pickled source; `loaded` must follow."""
        try:
            self._pipe.send(_LOAD)
            self._pipe.send_bytes(payload)
        except OSError:
            pass  # it is gone, which `loaded` finds out

    def loaded(self):
        """Wait until the process has taken up the source.

        Raises:
            _CannotStart: it can't, or the process has ended.
        """
        try:
            error = self._pipe.recv()
        except (EOFError, OSError):
            raise _CannotStart(
                f"a worker process {self._ending()} while it started; a script that uses "
                "processes needs `if __name__ == '__main__':` around its own actions"
            ) from None
        if error:
            raise _CannotStart(f"a worker process can't load the data ({error})")

    def fetch(self, index, seeds):
        """Return one batch.

        Raises:
            WorkerError: the process has ended.
            Exception: what the source raised.
        """
        try:
            self._pipe.send((index, seeds))
            batch, error, text = self._pipe.recv()
        except (EOFError, OSError):
            raise WorkerError(
                f"worker process {self.process.pid} {self._ending()} while it made batch {index}"
            ) from None
        if error is not None:
            raise error from RuntimeError(f"in worker process {self.process.pid}:\n{text}")
        return batch

    def _ending(self):
        self.process.join(1)
        code = self.process.exitcode
        if code is not None and code < 0:
            return f"was killed ({signal.Signals(-code).name})"
        return "ended" + ("" if code is None else f" (exit code {code})")

    def kill(self):
        """End the process."""
        try:
            self.process.kill()
            self.process.join(5)
        finally:
            self._pipe.close()


# -- in the worker ------------------------------------------------------------------------


def _serve(pipe):
    """Take up what comes behind _LOAD, answer numbers with batches; until the pipe ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's
    source = None
    try:
        while True:
            job = pipe.recv()
            if job == _LOAD:
                source, error = _loaded(pipe.recv_bytes())
                pipe.send(error)
            else:
                _answer(pipe, source, *job)
    except (EOFError, OSError):
        pass  # the parent has closed its end, or is gone


def _loaded(payload):
    """Return (object, None), or (None, why there is none)."""
    try:
        return pickle.loads(payload), None
    except BaseException as error:
        return None, _line(error)


def _answer(pipe, source, index, seeds):
    import traceback

    _seed(seeds)
    try:
        message = ForkingPickler.dumps((source[index], None, ""))
    except BaseException as error:
        text = traceback.format_exc()
        try:
            message = ForkingPickler.dumps((None, error, text))
            pickle.loads(message)  # some exceptions can be written but not read
        except Exception:
            message = ForkingPickler.dumps((None, RuntimeError(_line(error)), text))
    pipe.send_bytes(message)


def _seed(seeds):
    """Let random numbers depend on epoch and batch, not on who makes the batch."""
    import numpy as np

    from gpunet.utils.seeds import set_random_seed

    set_random_seed(int(np.random.SeedSequence(seeds).generate_state(1)[0]))
