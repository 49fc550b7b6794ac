"""Batches on their way to a GPU while the one before is worked on."""

from gpunet.training import feeder

__all__ = ["copied_ahead"]


def copied_ahead(batches):
    """Yield batches that were copied on a stream of their own, one ahead.

    CuPy copies from the host through pinned memory, on the stream that is current.

    Args:
        batches: iterator over Batches, which copies each when it is asked for it.
    """
    import cupy

    side = cupy.cuda.Stream(non_blocking=True)
    batches = iter(batches)

    def fetch():
        # Memory of a batch that was let go may be taken for this one: what is under way with the
        # former has to end first. That is the step before the one that now begins.
        side.wait_event(cupy.cuda.get_current_stream().record())
        with side:
            return next(batches, None), side.record()

    following, copied = fetch()
    while following is not None:
        batch = following
        cupy.cuda.get_current_stream().wait_event(copied)
        failed = None
        try:
            following, copied = fetch()
        except Exception as error:
            failed = error  # the batch before is still to be worked on
        yield batch
        if failed is not None:
            raise failed


feeder.copy_ahead_with("gpu", copied_ahead)
