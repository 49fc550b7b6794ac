"""Batches of the image files that a table lists."""

import os
import warnings

import numpy as np

from gpunet.preprocessing.image.folders import FileIterator

__all__ = ["DataFrameIterator"]

_WITHOUT_CLASSES = ("input", "multi_output", "raw", None)


class DataFrameIterator(FileIterator):
    """Batches of the image files that a pandas DataFrame lists.

    Args:
        dataframe: pandas.DataFrame.
        directory: str or path-like, in which the files lie; None for absolute paths.
        image_data_generator: `ImageDataGenerator`, or None to take images as they are.
        x_col: str, the column of file names.
        y_col: str or list of strs, the column or columns of targets.
        weight_col: str, the column of sample weights, or None.
        target_size, color_mode: see `DirectoryIterator`, as for all that isn't listed here.
        classes: list of the classes to use; rows of other classes are left out.
        class_mode: the targets: ``'categorical'`` (one-hot; a row may have a list of classes),
            ``'sparse'`` or ``'binary'`` (numbers), ``'input'`` (the images), ``'raw'`` (the
            column's values), ``'multi_output'`` (a list, one array for each column), or None.
        validate_filenames: bool, leave out rows whose file doesn't exist, with a warning.

    Raises:
        ValueError, TypeError: columns that don't fit the mode.
    """

    allowed_class_modes = ("binary", "categorical", "input", "multi_output", "raw", "sparse", None)

    def __init__(
        self,
        dataframe,
        directory=None,
        image_data_generator=None,
        x_col="filename",
        y_col="class",
        weight_col=None,
        target_size=(256, 256),
        color_mode="rgb",
        classes=None,
        class_mode="categorical",
        batch_size=32,
        shuffle=True,
        seed=None,
        data_format="channels_last",
        save_to_dir=None,
        save_prefix="",
        save_format="png",
        subset=None,
        interpolation="nearest",
        dtype="float32",
        validate_filenames=True,
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
        self.directory = "" if directory is None else os.fsdecode(directory)
        named = class_mode not in _WITHOUT_CLASSES
        _check(dataframe, x_col, y_col if class_mode not in ("input", None) else [], weight_col)
        _check_values(dataframe, x_col, y_col, weight_col, classes, class_mode)
        names = dataframe[x_col].tolist()
        rows = range(len(names))
        if validate_filenames:
            rows = self._existing(names, x_col)
        if named:
            labels = dataframe[y_col].tolist()
            rows, chosen, classes = _chosen(rows, labels, classes)
            self.class_indices = {name: i for i, name in enumerate(classes)}
        rows = self._part(list(rows))
        if named:
            self.classes = [_numbers(chosen[row], self.class_indices) for row in rows]
        self.filenames = [names[row] for row in rows]
        kept = dataframe.iloc[rows]
        self.sample_weight = kept[weight_col].to_numpy() if weight_col else None
        if class_mode == "multi_output":
            self._targets = [np.array(kept[column].tolist()) for column in y_col]
        elif class_mode == "raw":
            self._targets = kept[y_col].to_numpy()
        self._files(self.directory, batch_size, shuffle, seed)
        said = "validated" if validate_filenames else "non-validated"
        of = f" belonging to {len(classes)} classes" if named else ""
        print(f"Found {self.samples} {said} image filenames{of}.")

    def _existing(self, names, x_col):
        """Return the rows whose image file exists."""
        paths = [os.path.join(self.directory, name) for name in names]
        found = [
            i
            for i, path in enumerate(paths)
            if path.lower().endswith(self.white_list_formats) and os.path.isfile(path)
        ]
        missing = len(paths) - len(found)
        if missing:
            warnings.warn(
                f'Found {missing} invalid image filename(s) in x_col="{x_col}". These '
                "filename(s) will be ignored.",
                stacklevel=4,
            )
        return found

    @property
    def labels(self):
        """The targets: numbers of classes, or what the columns hold."""
        return self._targets if self.class_mode in ("multi_output", "raw") else self.classes


def _check(frame, x_col, y_col, weight_col):
    """Raise a ValueError for columns that there aren't."""
    wanted = [x_col, *(y_col if isinstance(y_col, (list, tuple)) else [y_col])]
    wanted += [weight_col] if weight_col else []
    missing = [name for name in wanted if name not in frame.columns]
    if missing:
        raise ValueError(
            f"DataFrameIterator: no columns {missing}; the dataframe has {list(frame.columns)}"
        )


def _check_values(frame, x_col, y_col, weight_col, classes, mode):
    """Raise for values that don't fit the mode."""

    def need(types, column, what):
        odd = [v for v in frame[column] if not isinstance(v, types)]
        if odd:
            raise TypeError(
                f'DataFrameIterator: with class_mode="{mode}" all values in column '
                f'"{column}" must be {what}, got {odd[0]!r}'
            )

    need(str, x_col, "strings")
    if mode == "multi_output" and not isinstance(y_col, list):
        raise TypeError(
            f'DataFrameIterator: If class_mode="{mode}", y_col must be a list. Received '
            f"{type(y_col).__name__}."
        )
    if mode in ("binary", "sparse"):
        need(str, y_col, "strings")
    if mode == "categorical":
        need((str, list, tuple), y_col, "type string, list or tuple")
    if mode == "binary":
        count = len(set(classes)) if classes else len(set(frame[y_col]))
        if count != 2:
            raise ValueError(
                f'DataFrameIterator: If class_mode="binary" there must be 2 classes. Found {count} '
                "classes."
            )
    if classes and mode in _WITHOUT_CLASSES:
        warnings.warn(f'`classes` will be ignored given the class_mode="{mode}"', stacklevel=4)
    if weight_col and frame[weight_col].dtype.kind not in "iufb":
        raise TypeError(f"DataFrameIterator: Column weight_col={weight_col} must be numeric.")


def _chosen(rows, labels, classes):
    """Return (rows left, their labels by row, classes), of the classes wanted."""
    if not classes:
        found = {name for row in rows for name in _listed(labels[row])}
        return rows, {row: labels[row] for row in rows}, sorted(found)
    classes = list(dict.fromkeys(classes))
    kept = {}
    for row in rows:
        label = labels[row]
        if isinstance(label, str):
            if label in classes:
                kept[row] = label
        elif any(name in classes for name in label):
            kept[row] = [name for name in label if name in classes]
    return list(kept), kept, classes


def _listed(label):
    return [label] if isinstance(label, str) else label


def _numbers(label, indices):
    if isinstance(label, str):
        return indices[label]
    return [indices[name] for name in label]
