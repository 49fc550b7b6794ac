"""Batches fetched ahead, for loops of the user's own."""

import itertools
import random

from gpunet.data.loader import Loader
from gpunet.data.workers import Crew

__all__ = ["SequenceEnqueuer", "OrderedEnqueuer", "GeneratorEnqueuer"]


class SequenceEnqueuer:
    """Base of the enqueuers: start, get batches, stop.

    Args:
        sequence: what gives batches.
        use_multiprocessing: bool, fetch by processes instead of threads.
    """

    def __init__(self, sequence, use_multiprocessing=False):
        self.sequence, self.use_multiprocessing = sequence, bool(use_multiprocessing)
        self._loader = None

    def start(self, workers=1, max_queue_size=10):
        """Begin to fetch.

        Args:
            workers: int, number of threads or processes.
            max_queue_size: int, how many batches may wait.

        Raises:
            RuntimeError: it runs already.
        """
        if self.is_running():
            raise RuntimeError(f"{type(self).__name__}: it runs already; stop() it first")
        self._size = max_queue_size
        self._begin(max(int(workers), 1))

    def is_running(self):
        """Return whether it has been started and not stopped since."""
        return self._loader is not None

    def get(self):
        """Yield batches in order.

        Raises:
            RuntimeError: it isn't started.
        """
        if not self.is_running():
            raise RuntimeError(f"{type(self).__name__}: start() it before you get() from it")
        return self._batches()

    def _batches(self):
        yield from self._loader

    def stop(self, timeout=None):
        """Stop fetching.

        Args:
            timeout: accepted; threads that are still at work are left to themselves.
        """
        loader, self._loader = self._loader, None
        if loader is not None:
            loader.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


class OrderedEnqueuer(SequenceEnqueuer):
    """Fetches the batches of a Sequence, epoch after epoch, without end.

    Args:
        sequence: `Sequence`.
        use_multiprocessing: bool, fetch by processes instead of threads.
        shuffle: bool, draw the order of each epoch with Python's ``random``.
    """

    def __init__(self, sequence, use_multiprocessing=False, shuffle=False):
        super().__init__(sequence, use_multiprocessing)
        self.shuffle = shuffle
        self._crew = None

    def _begin(self, workers):
        self._crew = Crew(self.sequence, workers, self.use_multiprocessing, "OrderedEnqueuer")
        self._load(0)

    def _load(self, epoch):
        order = list(range(len(self.sequence)))
        if self.shuffle:
            random.shuffle(order)
        self._loader = Loader(self._crew.fetches(epoch), order, self._size)

    def _batches(self):
        for epoch in itertools.count(1):
            yield from self._loader
            if not self.is_running():
                return
            self.sequence.on_epoch_end()
            self._crew.renew()
            self._load(epoch)

    def join_end_of_epoch(self):
        """Do nothing: an epoch has ended when its last batch has been handed out."""

    def stop(self, timeout=None):
        if self._crew is not None:
            self._crew.close()  # first: threads wait for processes
            self._crew = None
        super().stop(timeout)


class GeneratorEnqueuer(SequenceEnqueuer):
    """Fetches the batches of a generator, by one thread however many workers there are.

    Args:
        sequence: generator.
        use_multiprocessing: accepted; a generator can't be sent to another process.
        wait_time, random_seed: accepted as in Keras 2.3, not needed.
    """

    def __init__(self, sequence, use_multiprocessing=False, wait_time=None, random_seed=None):
        super().__init__(sequence, use_multiprocessing)

    def _begin(self, workers):
        iterator = iter(self.sequence)
        self._loader = Loader([lambda _: next(iterator)], itertools.repeat(None), self._size)
