"""Batches of image files, and those in folders."""

import os

import numpy as np

from gpunet import config
from gpunet.preprocessing.image.files import (
    COLOR_MODES,
    check_loading,
    checked_format,
    img_to_array,
    load_img,
)
from gpunet.preprocessing.image.iterators import Iterator, check_subset

__all__ = ["FileIterator", "DirectoryIterator", "files_in", "folders_in"]


class FileIterator(Iterator):
    """Base of batches of image files; its arguments are those of `DirectoryIterator`.

    A subclass calls `_settings`, finds ``filenames`` and ``classes``, and calls `_files`.
    """

    sample_weight = None

    def _settings(
        self,
        image_data_generator,
        target_size,
        color_mode,
        class_mode,
        data_format,
        save_to_dir,
        save_prefix,
        save_format,
        subset,
        interpolation,
        keep_aspect_ratio,
        dtype,
    ):
        who = type(self).__name__
        check_loading(who, color_mode, target_size, interpolation)
        check_subset(who, subset)
        if class_mode not in self.allowed_class_modes:
            raise ValueError(
                f"{who}: Invalid class_mode: expected one of {list(self.allowed_class_modes)}, "
                f"got {class_mode!r}"
            )
        self.image_data_generator = image_data_generator
        self.target_size = tuple(target_size)
        self.color_mode = color_mode
        self.class_mode = class_mode
        self.data_format = checked_format(who, data_format)
        channels = COLOR_MODES[color_mode][1]
        last = self.data_format == "channels_last"
        self.image_shape = (*self.target_size, channels) if last else (channels, *self.target_size)
        self.save_to_dir = save_to_dir
        self.save_prefix = save_prefix
        self.save_format = save_format
        self.subset = subset
        self.interpolation = interpolation
        self.keep_aspect_ratio = keep_aspect_ratio
        self.dtype = dtype or config.floatx()

    def _part(self, items):
        """Return the items of the subset wanted."""
        if self.subset is None:
            return items
        at = int(self.image_data_generator._validation_split * len(items))
        return items[:at] if self.subset == "validation" else items[at:]

    def _files(self, directory, batch_size, shuffle, seed):
        """Finish: a subclass has set filenames, classes or labels, and class_indices."""
        self.samples = len(self.filenames)
        self._filepaths = [os.path.join(directory, name) for name in self.filenames]
        super().__init__(self.samples, batch_size, shuffle, seed)

    @property
    def filepaths(self):
        """List of the files' paths."""
        return self._filepaths

    def _get_batches_of_transformed_samples(self, index_array):
        batch = np.zeros((len(index_array), *self.image_shape), dtype=self.dtype)
        for i, j in enumerate(index_array):
            image = load_img(
                self.filepaths[j],
                color_mode=self.color_mode,
                target_size=self.target_size,
                interpolation=self.interpolation,
                keep_aspect_ratio=self.keep_aspect_ratio,
            )
            batch[i] = self._transformed(img_to_array(image, self.data_format))
        self._keep(batch, index_array)
        y = self._targets_of(batch, index_array)
        if y is None:
            return batch
        if self.sample_weight is None:
            return batch, y
        return batch, y, self.sample_weight[index_array]

    def _targets_of(self, batch, index_array):
        mode = self.class_mode
        if mode is None:
            return None
        if mode == "input":
            return batch.copy()
        if mode == "multi_output":
            return [output[index_array] for output in self.labels]
        if mode == "raw":
            return self.labels[index_array]
        classes = [self.classes[i] for i in index_array]
        if mode in ("binary", "sparse"):
            return np.array(classes, dtype=self.dtype)
        y = np.zeros((len(classes), len(self.class_indices)), dtype=self.dtype)
        for row, chosen in zip(y, classes):
            row[chosen] = 1
        return y


class DirectoryIterator(FileIterator):
    """Batches of the image files in a folder that has one folder for each class.

    Args:
        directory: str or path-like.
        image_data_generator: `ImageDataGenerator`, or None to take images as they are.
        target_size: pair (height, width) that all images get.
        color_mode: ``'rgb'``, ``'rgba'`` or ``'grayscale'``.
        classes: list of the names of folders; all of them, sorted, by default.
        class_mode: the targets: ``'categorical'`` (one-hot), ``'sparse'`` or ``'binary'``
            (numbers), ``'input'`` (the images themselves), or None.
        batch_size, shuffle, seed: see `Iterator`.
        data_format, save_to_dir, save_prefix, save_format: see `NumpyArrayIterator`.
        follow_links: bool, follow links to folders.
        subset: ``'training'`` or ``'validation'``, by the generator's ``validation_split``; the
            validation is the first part of each class.
        interpolation, keep_aspect_ratio: see `load_img`.
        dtype: name of the type of images and targets; `floatx` by default.

    Attributes:
        class_indices: dict name -> number.
        classes: numpy array, the number of each file's class.
        filenames, filepaths: lists, without and with ``directory``.

    Raises:
        ValueError: an argument that isn't known, or a class without a folder.
        OSError: no such folder.
    """

    allowed_class_modes = ("categorical", "binary", "sparse", "input", None)

    def __init__(
        self,
        directory,
        image_data_generator,
        target_size=(256, 256),
        color_mode="rgb",
        classes=None,
        class_mode="categorical",
        batch_size=32,
        shuffle=True,
        seed=None,
        data_format=None,
        save_to_dir=None,
        save_prefix="",
        save_format="png",
        follow_links=False,
        subset=None,
        interpolation="nearest",
        dtype=None,
        keep_aspect_ratio=False,
    ):
        self._settings(
            image_data_generator,
            target_size,
            color_mode,
            class_mode,
            data_format,
            save_to_dir,
            save_prefix,
            save_format,
            subset,
            interpolation,
            keep_aspect_ratio,
            dtype,
        )
        self.directory = os.fsdecode(directory)
        classes = list(classes) if classes else folders_in(self.directory)
        self.num_classes = len(classes)
        self.class_indices = {name: i for i, name in enumerate(classes)}
        self.filenames, numbers = [], []
        for name in classes:
            if not os.path.isdir(os.path.join(self.directory, name)):
                raise ValueError(
                    f"DirectoryIterator: there is no folder {name!r} in {self.directory!r}"
                )
            found = self._part(
                files_in(self.directory, name, self.white_list_formats, follow_links)
            )
            self.filenames += found
            numbers += [self.class_indices[name]] * len(found)
        self.classes = np.array(numbers, dtype="int32")
        self._files(self.directory, batch_size, shuffle, seed)
        print(f"Found {self.samples} images belonging to {self.num_classes} classes.")

    @property
    def labels(self):
        """numpy array, the number of each file's class."""
        return self.classes


def folders_in(directory):
    """Return the sorted names of the folders in a folder."""
    return sorted(e.name for e in os.scandir(directory) if e.is_dir())


def files_in(directory, name, suffixes, follow_links=False):
    """Return the files with some suffixes in and below a folder, sorted by folder, then name.

    Args:
        directory: str, from which the paths returned count.
        name: str, the folder in it.
        suffixes: tuple of strs, in small letters.
        follow_links: bool, follow links to folders.
    """
    walked = os.walk(os.path.join(directory, name), followlinks=follow_links)
    return [
        os.path.relpath(os.path.join(root, file), directory)
        for root, _, files in sorted(walked, key=lambda found: found[0])
        for file in sorted(files)
        if file.lower().endswith(suffixes)
    ]
