"""Copies of batches beside the steps: in which order what waits for what."""

import contextlib
import sys
import types

import pytest

from gpunet.fused.transfers import copied_ahead


class Streams:
    """Stands in for cupy.cuda: writes down what streams are asked for."""

    def __init__(self):
        self.log, self.current, self.events = [], "main", 0

    def stream(self, name):
        cuda = self

        class Stream:
            def record(self):
                cuda.events += 1
                cuda.log.append(f"{name} records {cuda.events}")
                return cuda.events

            def wait_event(self, event):
                cuda.log.append(f"{name} waits for {event}")

            def __enter__(self):
                cuda.current = name

            def __exit__(self, *_):
                cuda.current = "main"

        return Stream()

    def module(self):
        cuda = types.SimpleNamespace(
            Stream=lambda non_blocking: self.stream("side" if non_blocking else "blocking"),
            get_current_stream=lambda: self.stream(self.current),
        )
        return types.SimpleNamespace(cuda=cuda)


@pytest.fixture
def streams(monkeypatch):
    made = Streams()
    monkeypatch.setitem(sys.modules, "cupy", made.module())
    return made


def source(streams, count):
    for i in range(count):
        streams.log.append(f"{streams.current} copies {i}")
        yield i


def test_order(streams):
    for batch in copied_ahead(source(streams, 2)):
        streams.log.append(f"main works on {batch}")
    assert streams.log == [
        "main records 1", "side waits for 1", "side copies 0", "side records 2",
        "main waits for 2",  # batch 0 is there
        "main records 3", "side waits for 3", "side copies 1", "side records 4",
        "main works on 0",  # while batch 1 is copied
        "main waits for 4",
        "main records 5", "side waits for 5", "side records 6",  # after the work on batch 0
        "main works on 1",
    ]  # fmt: skip


def test_no_batches(streams):
    assert list(copied_ahead(source(streams, 0))) == []


def test_errors_come_through(streams):
    def failing():
        yield 0
        raise ValueError("no more")

    seen = []
    with pytest.raises(ValueError, match="no more"):
        for batch in copied_ahead(failing()):
            seen.append(batch)
    assert streams.current == "main" and seen == [0]


def test_stopping_early_closes_the_source(streams):
    closed = []

    def batches():
        try:
            yield from range(5)
        finally:
            closed.append(True)

    made = batches()
    with contextlib.closing(copied_ahead(made)) as ahead:
        next(ahead)
    del ahead, made
    assert closed == [True]
