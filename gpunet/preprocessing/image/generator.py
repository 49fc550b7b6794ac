"""`ImageDataGenerator`: random changes and normalization of images, batch by batch."""

import numbers
import warnings

import numpy as np

from gpunet import config
from gpunet.errors import ShapeError
from gpunet.preprocessing.image.files import checked_format
from gpunet.preprocessing.image.folders import DirectoryIterator
from gpunet.preprocessing.image.frames import DataFrameIterator
from gpunet.preprocessing.image.iterators import NumpyArrayIterator
from gpunet.preprocessing.image.transforms import (
    FILL_MODES,
    apply_affine_transform,
    apply_brightness_shift,
    apply_channel_shift,
    flip_axis,
)

__all__ = ["ImageDataGenerator"]

# What standardizing by one statistic needs besides.
_NEEDED = (
    ("zca_whitening", "featurewise_center"),
    ("featurewise_std_normalization", "featurewise_center"),
    ("samplewise_std_normalization", "samplewise_center"),
)


class ImageDataGenerator:
    """Makes batches of images that are changed at random and standardized.

    Each batch depends on a seed, the epoch and its number alone, so results are the same for any
    number of workers.

    Args:
        featurewise_center: bool, take away the mean of the data that `fit` saw, by channel.
        samplewise_center: bool, take away each image's own mean.
        featurewise_std_normalization: bool, divide by the deviation of the data that `fit` saw.
        samplewise_std_normalization: bool, divide by each image's own deviation.
        zca_whitening: bool, decorrelate by what `fit` saw.
        zca_epsilon: float, for the whitening.
        rotation_range: float, degrees.
        width_shift_range: float < 1 (part of the width), float >= 1 or int (pixels), or list of
            pixels to choose from; to either side.
        height_shift_range: likewise.
        brightness_range: pair of floats.
        shear_range: float, degrees.
        zoom_range: float, for ``[1 - zoom, 1 + zoom]``, or pair of floats.
        channel_shift_range: float.
        fill_mode: what lies outside: ``'nearest'``, ``'constant'``, ``'reflect'`` or ``'wrap'``.
        cval: float for ``'constant'``.
        horizontal_flip, vertical_flip: bools, mirror one image in two.
        rescale: float by which images are multiplied, after ``preprocessing_function``.
        preprocessing_function: function from an image to one of the same shape, run after all
            random changes.
        data_format: ``'channels_last'`` or ``'channels_first'``; the global one by default.
        validation_split: float in [0, 1), the part for ``subset='validation'``.
        interpolation_order: int, of the spline between pixels.
        dtype: name of the batches' type; `floatx` by default.

    Attributes:
        mean, std, zca_whitening_matrix: what `fit` found; None before.

    Raises:
        ValueError: an argument out of range.
    """

    def __init__(
        self,
        featurewise_center=False,
        samplewise_center=False,
        featurewise_std_normalization=False,
        samplewise_std_normalization=False,
        zca_whitening=False,
        zca_epsilon=1e-6,
        rotation_range=0,
        width_shift_range=0.0,
        height_shift_range=0.0,
        brightness_range=None,
        shear_range=0.0,
        zoom_range=0.0,
        channel_shift_range=0.0,
        fill_mode="nearest",
        cval=0.0,
        horizontal_flip=False,
        vertical_flip=False,
        rescale=None,
        preprocessing_function=None,
        data_format=None,
        validation_split=0.0,
        interpolation_order=1,
        dtype=None,
    ):
        self.featurewise_center = featurewise_center
        self.samplewise_center = samplewise_center
        self.featurewise_std_normalization = featurewise_std_normalization
        self.samplewise_std_normalization = samplewise_std_normalization
        self.zca_whitening = zca_whitening
        self.zca_epsilon = zca_epsilon
        self.rotation_range = rotation_range
        self.width_shift_range = width_shift_range
        self.height_shift_range = height_shift_range
        self.brightness_range = None if brightness_range is None else _pair(brightness_range)
        self.shear_range = shear_range
        self.zoom_range = _zoom(zoom_range)
        self.channel_shift_range = channel_shift_range
        self.fill_mode = fill_mode
        self.cval = cval
        self.horizontal_flip = horizontal_flip
        self.vertical_flip = vertical_flip
        self.rescale = rescale
        self.preprocessing_function = preprocessing_function
        self.data_format = checked_format("ImageDataGenerator", data_format)
        self.interpolation_order = interpolation_order
        self.dtype = dtype or config.floatx()
        if fill_mode not in FILL_MODES:
            raise ValueError(
                f"ImageDataGenerator: expected fill_mode as one of {FILL_MODES}, got {fill_mode!r}"
            )
        if not 0 <= validation_split < 1:
            raise ValueError(
                "ImageDataGenerator: `validation_split` must be strictly between 0 and 1. "
                f"Received: {validation_split}"
            )
        self._validation_split = validation_split
        first = self.data_format == "channels_first"
        self.channel_axis, self.row_axis, self.col_axis = (1, 2, 3) if first else (3, 1, 2)
        self.mean = self.std = self.zca_whitening_matrix = None
        self._complete()

    def _complete(self):
        """Switch on what other options need, and off what contradicts them."""
        if self.zca_whitening and self.featurewise_std_normalization:
            self.featurewise_std_normalization = False
            warnings.warn(
                "ImageDataGenerator: `zca_whitening` overrides setting of "
                "`featurewise_std_normalization`",
                stacklevel=3,
            )
        for option, needed in _NEEDED:
            if getattr(self, option) and not getattr(self, needed):
                setattr(self, needed, True)
                warnings.warn(
                    f"ImageDataGenerator: `{option}` overrides setting of `{needed}`", stacklevel=3
                )

    # -- batches ------------------------------------------------------------------------------

    def flow(
        self,
        x,
        y=None,
        batch_size=32,
        shuffle=True,
        sample_weight=None,
        seed=None,
        save_to_dir=None,
        save_prefix="",
        save_format="png",
        subset=None,
        ignore_class_split=False,
    ):
        """Return a `NumpyArrayIterator` over arrays; see there for the arguments."""
        return NumpyArrayIterator(
            x,
            y,
            self,
            batch_size=batch_size,
            shuffle=shuffle,
            sample_weight=sample_weight,
            seed=seed,
            data_format=self.data_format,
            save_to_dir=save_to_dir,
            save_prefix=save_prefix,
            save_format=save_format,
            subset=subset,
            ignore_class_split=ignore_class_split,
            dtype=self.dtype,
        )

    def flow_from_directory(
        self,
        directory,
        target_size=(256, 256),
        color_mode="rgb",
        classes=None,
        class_mode="categorical",
        batch_size=32,
        shuffle=True,
        seed=None,
        save_to_dir=None,
        save_prefix="",
        save_format="png",
        follow_links=False,
        subset=None,
        interpolation="nearest",
        keep_aspect_ratio=False,
    ):
        """Return a `DirectoryIterator` over image files; see there for the arguments."""
        return DirectoryIterator(
            directory,
            self,
            target_size=target_size,
            color_mode=color_mode,
            classes=classes,
            class_mode=class_mode,
            batch_size=batch_size,
            shuffle=shuffle,
            seed=seed,
            data_format=self.data_format,
            save_to_dir=save_to_dir,
            save_prefix=save_prefix,
            save_format=save_format,
            follow_links=follow_links,
            subset=subset,
            interpolation=interpolation,
            dtype=self.dtype,
            keep_aspect_ratio=keep_aspect_ratio,
        )

    def flow_from_dataframe(
        self,
        dataframe,
        directory=None,
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
        save_to_dir=None,
        save_prefix="",
        save_format="png",
        subset=None,
        interpolation="nearest",
        validate_filenames=True,
        **kwargs,
    ):
        """Return a `DataFrameIterator` over image files; see there for the arguments.

        Args:
            **kwargs: ``has_ext``, ``sort`` and ``drop_duplicates`` of older versions, without
                effect.
        """
        unknown = [key for key in kwargs if key not in ("has_ext", "sort", "drop_duplicates")]
        if unknown:
            raise TypeError(f"flow_from_dataframe: unknown argument(s) {unknown}")
        return DataFrameIterator(
            dataframe,
            directory,
            self,
            x_col=x_col,
            y_col=y_col,
            weight_col=weight_col,
            target_size=target_size,
            color_mode=color_mode,
            classes=classes,
            class_mode="raw" if class_mode == "other" else class_mode,
            batch_size=batch_size,
            shuffle=shuffle,
            seed=seed,
            data_format=self.data_format,
            save_to_dir=save_to_dir,
            save_prefix=save_prefix,
            save_format=save_format,
            subset=subset,
            interpolation=interpolation,
            dtype=self.dtype,
            validate_filenames=validate_filenames,
        )

    # -- single images --------------------------------------------------------------------------

    def get_random_transform(self, img_shape, seed=None):
        """Return the parameters of one random change, as a dict for `apply_transform`.

        Args:
            img_shape: tuple, shape of the image.
            seed: int; the draws are NumPy's, from ``np.random`` by default.
        """
        return self._drawn(img_shape, np.random if seed is None else np.random.RandomState(seed))

    def _drawn(self, shape, draws):
        height, width = shape[self.row_axis - 1], shape[self.col_axis - 1]
        theta = _around_zero(self.rotation_range, draws)
        ty = _shift(self.height_shift_range, height, draws)
        tx = _shift(self.width_shift_range, width, draws)
        shear = _around_zero(self.shear_range, draws)
        low, high = self.zoom_range
        zx, zy = (1, 1) if low == high == 1 else draws.uniform(low, high, 2)
        horizontal = (draws.random_sample() < 0.5) * self.horizontal_flip
        vertical = (draws.random_sample() < 0.5) * self.vertical_flip
        change, brightness = self.channel_shift_range, self.brightness_range
        return {
            "theta": theta,
            "tx": tx,
            "ty": ty,
            "shear": shear,
            "zx": zx,
            "zy": zy,
            "flip_horizontal": horizontal,
            "flip_vertical": vertical,
            "channel_shift_intensity": draws.uniform(-change, change) if change else None,
            "brightness": None if brightness is None else draws.uniform(*brightness),
        }

    def apply_transform(self, x, transform_parameters):
        """Return an image changed as a dict says.

        Args:
            x: array of 3 axes.
            transform_parameters: dict with some of ``theta``, ``tx``, ``ty``, ``shear``, ``zx``,
                ``zy`` (see `apply_affine_transform`), ``flip_horizontal``, ``flip_vertical``,
                ``channel_shift_intensity`` and ``brightness``.

        Raises:
            ImportError: SciPy, or for the brightness Pillow, isn't installed.
        """
        wanted = transform_parameters.get
        row, col, channel = self.row_axis - 1, self.col_axis - 1, self.channel_axis - 1
        x = apply_affine_transform(
            x,
            theta=wanted("theta", 0),
            tx=wanted("tx", 0),
            ty=wanted("ty", 0),
            shear=wanted("shear", 0),
            zx=wanted("zx", 1),
            zy=wanted("zy", 1),
            row_axis=row,
            col_axis=col,
            channel_axis=channel,
            fill_mode=self.fill_mode,
            cval=self.cval,
            order=self.interpolation_order,
        )
        if wanted("channel_shift_intensity") is not None:
            x = apply_channel_shift(x, wanted("channel_shift_intensity"), channel)
        if wanted("flip_horizontal", False):
            x = flip_axis(x, col)
        if wanted("flip_vertical", False):
            x = flip_axis(x, row)
        if wanted("brightness") is not None:
            x = apply_brightness_shift(x, wanted("brightness"), False, self.data_format)
        return x

    def random_transform(self, x, seed=None):
        """Return an image changed at random; see `get_random_transform`."""
        return self.apply_transform(x, self.get_random_transform(x.shape, seed))

    def standardize(self, x):
        """Return an image, or a batch, standardized as the arguments say.

        Args:
            x: array of floats; it may be written into.
        """
        if self.preprocessing_function:
            x = self.preprocessing_function(x)
        if self.rescale:
            x *= self.rescale
        if self.samplewise_center:
            x -= np.mean(x, keepdims=True)
        if self.samplewise_std_normalization:
            x /= np.std(x, keepdims=True) + 1e-6
        if self.featurewise_center and self._fitted("featurewise_center", self.mean):
            x -= self.mean
        if self.featurewise_std_normalization and self._fitted(
            "featurewise_std_normalization", self.std
        ):
            x /= self.std + 1e-6
        if self.zca_whitening and self._fitted("zca_whitening", self.zca_whitening_matrix):
            matrix = self.zca_whitening_matrix
            x = (x.reshape(-1, len(matrix)) @ matrix).reshape(x.shape)
        return x

    def _fitted(self, option, found):
        if found is None:
            warnings.warn(
                f"This ImageDataGenerator specifies `{option}`, but it hasn't been fit on any "
                "training data. Fit it first by calling `.fit(numpy_data)`.",
                stacklevel=3,
            )
        return found is not None

    def fit(self, x, augment=False, rounds=1, seed=None):
        """Compute the statistics that featurewise options and the whitening need.

        Args:
            x: array of 4 axes.
            augment: bool, of images changed at random.
            rounds: int, how often each is changed.
            seed: int for the changes.

        Raises:
            ShapeError: an array of another rank.
        """
        x = np.array(x, dtype=self.dtype)
        if x.ndim != 4:
            raise ShapeError(
                "ImageDataGenerator: Input to `.fit()` should have rank 4. Got array with shape: "
                f"{x.shape}"
            )
        if not len(x):
            raise ShapeError("ImageDataGenerator: fit expected at least one image, got none")
        if x.shape[self.channel_axis] not in (1, 3, 4):
            warnings.warn(
                "ImageDataGenerator: fit expected 1, 3 or 4 channels on axis "
                f"{self.channel_axis} ({self.data_format}), got an array with shape {x.shape}",
                stacklevel=2,
            )
        if self.rescale:
            x *= self.rescale
        if augment:
            draws = np.random if seed is None else np.random.RandomState(seed)
            pairs = [(one, self._drawn(one.shape, draws)) for _ in range(rounds) for one in x]
            x = np.stack([self.apply_transform(*pair) for pair in pairs]).astype(self.dtype)
        axes = (0, self.row_axis, self.col_axis)
        if self.featurewise_center:
            self.mean = np.mean(x, axis=axes, keepdims=True)[0]
            x -= self.mean
        if self.featurewise_std_normalization:
            self.std = np.std(x, axis=axes, keepdims=True)[0]
            x /= self.std + 1e-6
        if self.zca_whitening:
            u, s, _ = np.linalg.svd(x.reshape(len(x), -1).T, full_matrices=False)
            self.zca_whitening_matrix = (u * (np.sqrt(len(x)) / (s + self.zca_epsilon))) @ u.T


def _around_zero(limit, draws):
    return draws.uniform(-limit, limit) if limit else 0


def _shift(given, size, draws):
    """Return a number of pixels: drawn evenly for floats, chosen for ints and lists."""
    if isinstance(given, numbers.Real) and not given:
        return 0
    if isinstance(given, numbers.Real) and not isinstance(given, numbers.Integral):
        shift = draws.uniform(-given, given)
    else:
        shift = draws.choice(given) * draws.choice([-1, 1])
    return shift * size if np.max(given) < 1 else shift


def _zoom(given):
    if isinstance(given, numbers.Real):
        return [1 - given, 1 + given]
    if len(given) == 2 and all(isinstance(v, numbers.Real) for v in given):
        return list(given)
    raise ValueError(
        "ImageDataGenerator: `zoom_range` should be a float or a tuple or list of two floats. "
        f"Received: {given}"
    )


def _pair(given):
    if not isinstance(given, (tuple, list)) or len(given) != 2:
        raise ValueError(
            "ImageDataGenerator: `brightness_range should be tuple or list of two floats. "
            f"Received: {given}"
        )
    return given
