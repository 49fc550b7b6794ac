"""Items fetched ahead by threads, handed out in order."""

import contextvars
import queue
import threading
from concurrent.futures import Future

__all__ = ["Loader"]

_END = object()


class Loader:
    """Iterator over what functions make of jobs, some jobs ahead of its reader.

    Order and values don't depend on the number of functions.  What a function raises is raised
    where its item would have come; StopIteration ends the items.

    Args:
        fetches: list of functions ``(job) -> item``; each works in a thread of its own.
        jobs: iterable of jobs; drawn from by one thread at a time.
        size: int, how many items may wait or be in the making.
    """

    #: Seconds that `close` waits for a function that is still at work.
    patience = 1.0

    def __init__(self, fetches, jobs, size):
        self._jobs = iter(jobs)
        self._drawing = threading.Lock()
        self._room = threading.Semaphore(max(size, len(fetches)))
        self._places = queue.SimpleQueue()  # a Future for each item, in order; then _END
        self._over = self._closed = False
        self._threads = [
            threading.Thread(
                target=contextvars.copy_context().run,
                args=(self._work, fetch),
                name=f"gpunet-loader-{i}",
                daemon=True,
            )
            for i, fetch in enumerate(fetches)
        ]
        for thread in self._threads:
            thread.start()

    def _work(self, fetch):
        """Fetch until there is nothing left; the loop of a thread."""
        while True:
            self._room.acquire()
            place, job = self._draw()
            if place is None:
                return
            try:
                item = fetch(job)
            except BaseException as error:  # raised again by the reader
                self._over = True
                place.set_exception(_Ended() if isinstance(error, StopIteration) else error)
            else:
                place.set_result(item)
            del place, job
            item = None  # may be large

    def _draw(self):
        """Return (place of the next item, its job), (None, None) at the end."""
        with self._drawing:
            try:
                job = _END if self._over or self._closed else next(self._jobs, _END)
            except BaseException as error:
                job = _END
                failed = Future()
                failed.set_exception(error)
                self._places.put(failed)
            if job is _END:
                self._over = True
                self._places.put(_END)
                self._room.release()  # the other threads are to see it too
                return None, None
            place = Future()
            self._places.put(place)
            return place, job

    def __iter__(self):
        return self

    def __next__(self):
        place = _END if self._closed else self._places.get()
        if place is _END:
            self._places.put(_END)
            raise StopIteration
        try:
            item = place.result()
        except _Ended:
            self._places.put(_END)
            self._closed = True
            raise StopIteration from None
        self._room.release()
        return item

    def close(self):
        """Stop fetching; what is under way is left to itself if it takes long."""
        self._closed = True
        for _ in self._threads:
            self._room.release()
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(self.patience)


class _Ended(Exception):
    """Stands for StopIteration, which a Future can't carry."""
