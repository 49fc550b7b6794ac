"""Windows over time series, as batches."""

import numpy as np

from gpunet.data.batches import Batches
from gpunet.training.feeder import positive_int

__all__ = ["timeseries_dataset_from_array"]


def timeseries_dataset_from_array(
    data,
    targets,
    sequence_length,
    sequence_stride=1,
    sampling_rate=1,
    batch_size=128,
    shuffle=False,
    seed=None,
    start_index=None,
    end_index=None,
):
    """Return batches of windows over a time series, with targets.

    Args:
        data: array ``(T, ...)``.
        targets: array whose element ``i`` belongs to the window that begins at ``i``; or None.
        sequence_length: int, number of steps in a window.
        sequence_stride: int, the distance of windows.
        sampling_rate: int, the distance of the steps of one window.
        batch_size: int; None gives single windows.
        shuffle: bool, windows in a new order each epoch.
        seed: int for the order.
        start_index, end_index: ints, the steps from the first to before the second are used.

    Returns:
        `Batches` of windows ``(batch, sequence_length, ...)``, or of (windows, targets).

    Raises:
        ValueError: numbers out of range.
    """
    who = "timeseries_dataset_from_array"
    data = np.asarray(data)
    length, stride, rate = (
        positive_int(value, f"{who}: {name}", 1)
        for name, value in (
            ("sequence_length", sequence_length),
            ("sequence_stride", sequence_stride),
            ("sampling_rate", sampling_rate),
        )
    )
    start, end = start_index or 0, len(data) if end_index is None else end_index
    if not 0 <= start < end <= len(data):
        raise ValueError(
            f"{who}: expected 0 <= start_index < end_index <= {len(data)}, got {start_index} and "
            f"{end_index}"
        )
    data = data[start:end]
    count = len(data) - (length - 1) * rate
    if targets is not None:
        targets = np.asarray(targets)[start:end]
        count = min(count, len(targets))
    if count < 1:
        raise ValueError(
            f"{who}: a window of {length} steps, {rate} apart, is longer than the {len(data)} "
            "steps there are"
        )
    starts, steps = np.arange(0, count, stride), np.arange(length) * rate

    def make(chosen):
        first = starts[chosen]
        windows = data[first[:, None] + steps]
        return windows if targets is None else (windows, targets[first])

    return Batches(len(starts), batch_size, make, shuffle, seed)
