"""Batches by number."""

__all__ = ["Sequence"]


class Sequence:
    """Base of data that give their batches by number, in any order and from any thread.

    A subclass defines ``__getitem__(index)``, which returns one batch as ``(x, y)`` or
    ``(x, y, sample_weight)``, and ``__len__()``, the number of batches in an epoch.

    Where its items are drawn at random, let them depend on the index and the epoch alone: then
    results are the same however many workers fetch them.
    """

    use_sequence_api = True

    def __getitem__(self, index):
        """Return batch ``index``, an int from 0."""
        raise NotImplementedError(
            f"{type(self).__name__} needs a __getitem__(index) that returns a batch"
        )

    def __len__(self):
        """Return the number of batches."""
        raise NotImplementedError(
            f"{type(self).__name__} needs a __len__() that returns the number of batches"
        )

    def on_epoch_end(self):
        """Called at the end of every epoch."""

    def __iter__(self):
        """Yield all batches once, in order."""
        for index in range(len(self)):
            yield self[index]


Sequence.on_epoch_end.does_nothing = True  # so that copies of the data needn't be renewed
