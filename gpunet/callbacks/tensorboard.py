"""Training to be watched in TensorBoard."""

import io
import json
import os
import time
import warnings

import numpy as np

from gpunet import optional
from gpunet.schedules import LearningRateSchedule
from gpunet.training.callbacks import Callback
from gpunet.training.feeder import is_whole

__all__ = ["TensorBoard"]

# Arguments of older versions that change nothing in later ones either.
_OLDER = ("batch_size", "write_grads", "embeddings_layer_names", "embeddings_data")


def _tensorboard(module):
    return optional.load(
        f"tensorboard.{module}", "TensorBoard", "the package tensorboard", "gpunet[tensorboard]"
    )


class TensorBoard(Callback):
    """Writes event files for TensorBoard: ``tensorboard --logdir logs`` shows them.

    Losses and metrics of epochs are named ``epoch_...`` and lie in the folders ``train`` and
    ``validation``; those of batches ``batch_...``; those of `Model.evaluate`, and of each
    validation, ``evaluation_..._vs_iterations``.

    Args:
        log_dir: str or path-like, a folder for these files alone.
        histogram_freq: int, write how all weights are spread every so many epochs; 0 never.
        write_graph: bool, write the structure of a model that is a graph of layers.
        write_images: bool, with the histograms, write weights as images.
        write_steps_per_second: bool, write how fast training goes, by epoch and by batch.
        update_freq: ``'epoch'``; or write after batches too: ``'batch'`` after each, an int after
            every so many.
        profile_batch: accepted; there is no profile.
        embeddings_freq: accepted; embeddings aren't written.
        embeddings_metadata: accepted.
        **kwargs: ``batch_size``, ``write_grads``, ``embeddings_layer_names`` and
            ``embeddings_data`` of Keras 2.3, without effect.

    Raises:
        ImportError: the package tensorboard isn't installed.
        ValueError: another ``update_freq``.
    """

    backed_up = ("_step",)

    def __init__(
        self,
        log_dir="logs",
        histogram_freq=0,
        write_graph=True,
        write_images=False,
        write_steps_per_second=False,
        update_freq="epoch",
        profile_batch=0,
        embeddings_freq=0,
        embeddings_metadata=None,
        **kwargs,
    ):
        unknown = [name for name in kwargs if name not in _OLDER]
        if unknown:
            raise TypeError(f"TensorBoard: unknown argument(s) {unknown}")
        if update_freq not in ("epoch", "batch") and not (
            is_whole(update_freq) and update_freq > 0
        ):
            raise ValueError(
                "TensorBoard: expected update_freq as 'epoch', 'batch' or a positive int, "
                f"got {update_freq!r}"
            )
        for name, given in (("profile_batch", profile_batch), ("embeddings_freq", embeddings_freq)):
            if given:
                warnings.warn(f"TensorBoard: {name} has no effect in gpunet", stacklevel=2)
        self.log_dir = os.fsdecode(log_dir)
        self.histogram_freq = histogram_freq
        self.write_graph = write_graph
        self.write_images = write_images
        self.write_steps_per_second = write_steps_per_second
        self.update_freq = 1 if update_freq == "batch" else update_freq
        self._writers = {}
        self._training = False
        self._step = 0
        _tensorboard("summary.writer.event_file_writer")  # if it is missing, say so now
        if self.update_freq != "epoch":
            # On the object, so that fit calls them for each batch only where this is wanted.
            self.on_train_batch_begin = self._begin_batch
            self.on_train_batch_end = self._end_batch

    # -- hooks ----------------------------------------------------------------------------------

    def on_train_begin(self, logs=None):
        self._training = True
        self._step = self._iterations()
        if self.write_graph:
            self._write_structure()

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch_began = time.perf_counter()
        self._epoch_step = self._iterations()

    def _begin_batch(self, batch, logs=None):
        self._batch_began = time.perf_counter()

    def _end_batch(self, batch, logs=None):
        self._step += 1
        if self._step % self.update_freq:
            return
        logs = {name: v for name, v in (logs or {}).items() if name not in ("batch", "size")}
        if self.write_steps_per_second:
            logs["steps_per_second"] = 1 / max(time.perf_counter() - self._batch_began, 1e-9)
        self._write_scalars("train", "batch_", logs, self._step)

    def on_epoch_end(self, epoch, logs=None):
        logs = logs or {}
        train = {name: v for name, v in logs.items() if not name.startswith("val_")}
        rate = getattr(self.model.optimizer, "lr", None)
        if isinstance(rate, LearningRateSchedule):
            train["learning_rate"] = float(rate(self._iterations()))
        if self.write_steps_per_second:
            seconds = max(time.perf_counter() - self._epoch_began, 1e-9)
            train["steps_per_second"] = (self._iterations() - self._epoch_step) / seconds
        found = {name[4:]: v for name, v in logs.items() if name.startswith("val_")}
        self._write_scalars("train", "epoch_", train, epoch)
        self._write_scalars("validation", "epoch_", found, epoch)
        if self.histogram_freq and epoch % self.histogram_freq == 0:
            self._write_weights(epoch)
        for writer in self._writers.values():
            writer.flush()

    def on_test_end(self, logs=None):
        named = {f"{name}_vs_iterations": value for name, value in (logs or {}).items()}
        self._write_scalars("validation", "evaluation_", named, self._iterations())
        if not self._training:
            self._close()

    def on_train_end(self, logs=None):
        self._training = False
        self._close()

    def _iterations(self):
        return int(getattr(self.model.optimizer, "iterations", 0))

    # -- writing --------------------------------------------------------------------------------

    def _write(self, part, values, step):
        """Write a list of ``Summary.Value`` to one of the folders."""
        if not values:
            return
        proto = _tensorboard("compat.proto.event_pb2")
        summary = _tensorboard("compat.proto.summary_pb2")
        if part not in self._writers:
            writers = _tensorboard("summary.writer.event_file_writer")
            self._writers[part] = writers.EventFileWriter(os.path.join(self.log_dir, part))
        event = proto.Event(wall_time=time.time(), step=int(step))
        event.summary.CopyFrom(summary.Summary(value=values))
        self._writers[part].add_event(event)

    def _close(self):
        for writer in self._writers.values():
            writer.close()
        self._writers = {}

    def _write_scalars(self, part, prefix, logs, step):
        make = _tensorboard("plugins.scalar.summary_v2").scalar_pb
        scalars = [(name, v) for name, v in logs.items() if np.ndim(v) == 0]
        values = [v for name, x in scalars for v in make(prefix + name, float(x)).value]
        self._write(part, values, step)

    def _write_weights(self, epoch):
        make = _tensorboard("plugins.histogram.summary_v2").histogram_pb
        values = []
        for layer in self.model.layers:
            for weight in layer.weights:
                name, x = weight.name.replace(":", "_"), weight.numpy()
                finite = x[np.isfinite(x)]
                values += make(f"{name}/histogram", finite.astype("float64")).value
                if self.write_images:
                    values += _as_image(f"{name}/image", x)
        self._write("train", values, epoch)

    def _write_structure(self):
        """Write the model's configuration, which TensorBoard draws as a graph, if it is one."""
        if self.model._graph is None:
            return
        try:
            text = self.model.to_json()
        except (NotImplementedError, TypeError, ValueError) as error:
            warnings.warn(f"TensorBoard: the graph isn't written ({error})", stacklevel=3)
            return
        value = _tensorboard("compat.proto.summary_pb2").Summary.Value(tag="keras")
        value.metadata.plugin_data.plugin_name = "graph_keras_model"
        value.metadata.plugin_data.content = b"1"
        make = _tensorboard("util.tensor_util").make_tensor_proto
        value.tensor.CopyFrom(make(json.dumps(json.loads(text)).encode()))
        self._write("train", [value], 0)


def _as_image(tag, x):
    """Return a weight of up to three axes that count as a list with its image, else nothing."""
    x = np.squeeze(x)
    if x.ndim not in (1, 2, 3) or not x.size:
        return []
    if x.ndim == 3:  # kernels (H, W, filters), one above the other
        x = np.moveaxis(x, 2, 0).reshape(-1, x.shape[1])
    x = np.atleast_2d(x)
    x = x.T if x.shape[0] > x.shape[1] and x.ndim == 2 else x
    low, high = np.nanmin(x), np.nanmax(x)
    grey = (np.nan_to_num(x - low) / max(high - low, 1e-12) * 255).clip(0, 255).astype("uint8")
    image = optional.load("PIL.Image", "TensorBoard(write_images=True)", "Pillow", "gpunet[image]")
    encoded = io.BytesIO()
    image.fromarray(grey).save(encoded, format="png")
    proto = _tensorboard("compat.proto.summary_pb2").Summary
    picture = proto.Image(
        height=grey.shape[0],
        width=grey.shape[1],
        colorspace=1,
        encoded_image_string=encoded.getvalue(),
    )
    return [proto.Value(tag=tag, image=picture)]
