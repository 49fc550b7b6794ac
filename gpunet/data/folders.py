"""Images and texts that lie in one folder for each class, as batches."""

import os

import numpy as np

from gpunet.data.batches import Batches
from gpunet.utils.numeric import to_categorical

__all__ = ["image_dataset_from_directory", "text_dataset_from_directory"]

_IMAGES = (".bmp", ".gif", ".jpeg", ".jpg", ".png")
_LABEL_MODES = ("int", "categorical", "binary", None)
_SUBSETS = ("training", "validation", "both", None)


def image_dataset_from_directory(
    directory,
    labels="inferred",
    label_mode="int",
    class_names=None,
    color_mode="rgb",
    batch_size=32,
    image_size=(256, 256),
    shuffle=True,
    seed=None,
    validation_split=None,
    subset=None,
    interpolation="bilinear",
    follow_links=False,
    crop_to_aspect_ratio=False,
    **kwargs,
):
    """Return batches of the image files in a folder that has one folder for each class.

    Args:
        directory: str or path-like.
        labels: ``'inferred'`` from the folders; None for none; or a list of ints, one for each
            file in the order of their paths, whatever the folders.
        label_mode: ``'int'``, ``'categorical'`` (one-hot), ``'binary'`` (floats (N, 1)), or None.
        class_names: list of the folders' names, for another order than the alphabet's.
        color_mode: ``'rgb'``, ``'rgba'`` or ``'grayscale'``.
        batch_size: int; None gives single images.
        image_size: pair (height, width) that all images get.
        shuffle: bool; False keeps the order of the paths.
        seed: int for the order.
        validation_split: float in (0, 1), the part at the end of the shuffled files.
        subset: ``'training'``, ``'validation'``, or ``'both'`` for a pair.
        interpolation: see `gpunet.layers.Resizing`.
        follow_links: bool, follow links to folders.
        crop_to_aspect_ratio: bool, cut off what is too high or too wide rather than distort.

    Returns:
        `Batches` of float32 images with values from 0 to 255, or of (images, labels).  It has
        ``class_names`` and ``file_paths``.  With ``subset='both'`` a pair of them.

    Raises:
        ValueError: an argument that isn't known, or files that don't fit.
        ImportError: Pillow isn't installed.
    """
    from gpunet.layers import Resizing
    from gpunet.preprocessing.image.files import COLOR_MODES, check_loading, img_to_array, load_img

    if kwargs:
        raise TypeError(f"image_dataset_from_directory: unknown argument(s) {list(kwargs)}")
    check_loading("image_dataset_from_directory", color_mode, image_size, "bilinear")
    resize = Resizing(*image_size, interpolation, crop_to_aspect_ratio=crop_to_aspect_ratio)
    shape = (*image_size, COLOR_MODES[color_mode][1])

    def load(paths):
        batch = np.empty((len(paths), *shape), "float32")
        for i, path in enumerate(paths):
            x = img_to_array(load_img(path, color_mode=color_mode), "channels_last", "float32")
            batch[i] = x if x.shape == shape else resize(x).numpy()
        return batch

    files = _Files("image_dataset_from_directory", directory, labels, label_mode, class_names)
    files.find(_IMAGES, follow_links)
    return files.batches(load, batch_size, shuffle, seed, validation_split, subset)


def text_dataset_from_directory(
    directory,
    labels="inferred",
    label_mode="int",
    class_names=None,
    batch_size=32,
    max_length=None,
    shuffle=True,
    seed=None,
    validation_split=None,
    subset=None,
    follow_links=False,
):
    """Return batches of the ``.txt`` files in a folder that has one folder for each class.

    Args:
        max_length: int, number of bytes after which texts are cut off.
        directory, labels, label_mode, class_names, batch_size, shuffle, seed, validation_split,
            subset, follow_links: see `image_dataset_from_directory`.

    Returns:
        `Batches` of numpy arrays of str, or of (texts, labels).
    """

    def load(paths):
        texts = np.empty(len(paths), object)
        for i, path in enumerate(paths):
            with open(path, "rb") as file:
                read = file.read() if max_length is None else file.read(max_length)
            texts[i] = read.decode("utf-8", errors="strict" if max_length is None else "ignore")
        return texts

    files = _Files("text_dataset_from_directory", directory, labels, label_mode, class_names)
    files.find((".txt",), follow_links)
    return files.batches(load, batch_size, shuffle, seed, validation_split, subset)


class _Files:
    """The files of a folder and their labels.

    Args:
        who: str, who asks, for error texts; the others as for `image_dataset_from_directory`.
    """

    def __init__(self, who, directory, labels, label_mode, class_names):
        if label_mode not in _LABEL_MODES:
            raise ValueError(
                f"{who}: expected label_mode as one of {_LABEL_MODES}, got {label_mode!r}"
            )
        if labels != "inferred" and class_names is not None:
            raise ValueError(f"{who}: class_names goes with labels='inferred', got {labels!r}")
        self.who, self.directory = who, os.fsdecode(directory)
        self.given, self.label_mode = labels, None if labels is None else label_mode
        self.class_names = class_names

    def find(self, suffixes, follow_links):
        """Look for the files."""
        from gpunet.preprocessing.image.folders import files_in, folders_in

        inferred = isinstance(self.given, str) and self.given == "inferred"
        folders = [""]
        if inferred:
            folders = [n for n in folders_in(self.directory) if not n.startswith(".")]
            names = list(self.class_names) if self.class_names else folders
            if sorted(names) != sorted(folders):
                raise ValueError(
                    f"{self.who}: The `class_names` passed did not match the names of the "
                    f"subdirectories of the target directory. Expected: {folders}, but received: "
                    f"{names}"
                )
        found = [files_in(self.directory, name, suffixes, follow_links) for name in folders]
        self.paths = [os.path.join(self.directory, name) for part in found for name in part]
        if not self.paths:
            raise ValueError(f"{self.who}: no {'/'.join(suffixes)} files in {self.directory!r}")
        if inferred:
            self.class_names = names
            numbers = [names.index(n) for n, part in zip(folders, found) for _ in part]
        elif self.given is None:
            numbers, self.class_names = [0] * len(self.paths), None
        else:
            numbers = list(self.given)
            if len(numbers) != len(self.paths):
                raise ValueError(
                    f"{self.who}: Expected the lengths of `labels` to match the number of files "
                    f"in the target directory. len(labels) is {len(numbers)} while we found "
                    f"{len(self.paths)} files in directory {self.directory}."
                )
            self.class_names = [str(n) for n in sorted(set(numbers))]
        self.labels = np.array(numbers, "int32")
        if self.label_mode == "binary" and len(self.class_names) != 2:
            raise ValueError(
                f"{self.who}: label_mode='binary' needs 2 classes, got {self.class_names}"
            )
        of = f" belonging to {len(self.class_names)} classes" if self.class_names else ""
        print(f"Found {len(self.paths)} files{of}.")

    def batches(self, load, batch_size, shuffle, seed, part, subset):
        """Return the Batches that are wanted."""
        self._check(shuffle, seed, part, subset)
        rows = np.arange(len(self.paths))
        if shuffle:
            seed = int(np.random.randint(1000000)) if seed is None else seed
            np.random.RandomState(seed).shuffle(rows)  # as Keras does, so that parts are the same
        if part is None:
            return self._batches(rows, load, batch_size, shuffle, seed)
        at = len(rows) - int(part * len(rows))
        parts = {"training": rows[:at], "validation": rows[at:]}
        for name in parts if subset == "both" else [subset]:
            print(f"Using {len(parts[name])} files for {name}.")
        made = {n: self._batches(r, load, batch_size, shuffle, seed) for n, r in parts.items()}
        return tuple(made.values()) if subset == "both" else made[subset]

    def _check(self, shuffle, seed, part, subset):
        if subset not in _SUBSETS:
            raise ValueError(f"{self.who}: expected subset as one of {_SUBSETS}, got {subset!r}")
        if part is not None and not 0 < part < 1:
            raise ValueError(
                f"{self.who}: `validation_split` must be between 0 and 1, received: {part}"
            )
        if (part is None) != (subset is None):
            raise ValueError(
                f"{self.who}: If `subset` is set, `validation_split` must be set, and inversely."
            )
        if part is not None and shuffle and seed is None:
            raise ValueError(
                f"{self.who}: If using `validation_split` and shuffling the data, you must "
                "provide a `seed` argument, to make sure that there is no overlap between the "
                "training and validation subset."
            )

    def _batches(self, rows, load, batch_size, shuffle, seed):
        paths, labels = [self.paths[i] for i in rows], self.labels[rows]
        if self.label_mode == "binary":
            labels = labels.astype("float32")[:, None]
        elif self.label_mode == "categorical":
            labels = to_categorical(labels, len(self.class_names))

        def make(chosen):
            x = load([paths[i] for i in chosen])
            return x if self.label_mode is None else (x, labels[chosen])

        names = {"class_names": self.class_names, "file_paths": paths}
        return Batches(len(paths), batch_size, make, shuffle, seed, **names)
