"""Sequences that worker processes can import."""

import os
import random
import signal
import time

import numpy as np

from gpunet.utils import Sequence


class Drawn(Sequence):
    """Batches with random numbers from all the usual generators."""

    def __init__(self, batches=6):
        self.batches, self.epoch = batches, 0

    def __len__(self):
        return self.batches

    def __getitem__(self, index):
        x = np.random.standard_normal((4, 3)) + self.epoch
        return x.astype("float32"), np.full((4, 1), random.random(), "float32")

    def on_epoch_end(self):
        self.epoch += 1


class Slow(Drawn):
    """Batches that take a while, one of which may go wrong."""

    def __init__(self, batches=20, seconds=0.02, bad=None, how=None):
        super().__init__(batches)
        self.seconds, self.bad, self.how = seconds, bad, how

    def __getitem__(self, index):
        time.sleep(self.seconds)
        if index == self.bad:
            if self.how == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            if self.how == "exit":
                os._exit(3)
            if self.how == "raise":
                raise KeyError(f"picture {index}")
            if self.how == "shape":
                return np.zeros((4, 9)), np.zeros((4, 1))
        return super().__getitem__(index)


class CantLoad(Drawn):
    """Is pickled, but not unpickled."""

    def __setstate__(self, state):
        raise RuntimeError("made for one process alone")
