"""Training, testing and predicting on single batches."""

import numpy as np

from gpunet import arrays
from gpunet.nest import pack
from gpunet.training.interrupts import Interrupts, isolated
from gpunet.training.steps import Steps

__all__ = ["OnBatch", "values_of"]


def values_of(logs):
    """Return the values of logs as a list, a single one as it is."""
    values = list(logs.values())
    return values[0] if len(values) == 1 else values


class OnBatch(Steps):
    """The part of `Trainer` that is about single batches."""

    @isolated
    def train_on_batch(
        self,
        x,
        y=None,
        sample_weight=None,
        class_weight=None,
        reset_metrics=True,
        return_dict=False,
    ):
        """Update the weights once.

        Args:
            x, y, sample_weight, class_weight: one batch, as for `fit`.
            reset_metrics: bool; False accumulates over calls.
            return_dict: bool, return a dict by name.

        Returns:
            float, or list of floats in the order of `metrics_names`: the loss before the update.
        """
        step = self._step("train")
        what = "train_on_batch"
        feeder = self._arrays(what, x, y, sample_weight, None, step.own)
        self._weigh(feeder, class_weight, what)
        batch = feeder.whole()
        if reset_metrics:
            self.reset_metrics()
        with Interrupts() as interrupts:
            step.run(batch, interrupts)
        logs = step.logs()
        return logs if return_dict else values_of(logs)

    @isolated
    def test_on_batch(self, x, y=None, sample_weight=None, reset_metrics=True, return_dict=False):
        """Return the loss and the metrics on one batch; see `train_on_batch`."""
        step = self._step("test")
        batch = self._arrays("test_on_batch", x, y, sample_weight, None, step.own).whole()
        if reset_metrics:
            self.reset_metrics()
        step.run(batch)
        logs = step.logs()
        return logs if return_dict else values_of(logs)

    @isolated
    def predict_on_batch(self, x):
        """Return the outputs for one batch as numpy arrays."""
        step = self._step("predict")
        outputs = step.run(self._questions("predict_on_batch", x, None, step.own).whole())
        return pack(step.structure, [np.array(arrays.to_host(t.array)) for t in outputs])
