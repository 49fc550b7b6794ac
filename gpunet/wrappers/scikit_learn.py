"""Models as estimators of scikit-learn, for its pipelines, searches and cross-validation."""

import inspect

import numpy as np

from gpunet import losses, optional
from gpunet.losses import functions
from gpunet.models import Model
from gpunet.utils.numeric import to_categorical

__all__ = ["BaseWrapper", "KerasClassifier", "KerasRegressor"]


class BaseWrapper:
    """Base of both estimators.

    Args:
        build_fn: function that returns a compiled model, or an object that can be called; None if
            a subclass has a ``__call__`` that does.
        **sk_params: arguments of ``build_fn`` and of `Model.fit`, `Model.predict` and
            `Model.evaluate`; each gets those that it takes.

    Attributes:
        model: the model, once it is fitted.

    Raises:
        ValueError: an argument that none of them takes.
    """

    _kind = None

    def __init__(self, build_fn=None, **sk_params):
        self.build_fn = build_fn
        self.sk_params = sk_params
        self.check_params(sk_params)

    def _builder(self):
        return self if self.build_fn is None else self.build_fn

    def check_params(self, params):
        """Raise a ValueError for an argument that nothing takes.

        Args:
            params: dict.
        """
        if not callable(self._builder()):
            raise ValueError(
                f"{type(self).__name__}: expected build_fn as a function that returns a compiled "
                f"model, got {self.build_fn!r}"
            )
        takers = [Model.fit, Model.predict, Model.evaluate, self._builder()]
        for name in params:
            if name != "nb_epoch" and not any(_takes(function, name) for function in takers):
                raise ValueError(
                    f"{type(self).__name__}: {name} is not a legal parameter: neither build_fn "
                    "nor fit, predict or evaluate take it"
                )

    def get_params(self, **params):
        """Return the arguments of the constructor, as they are.

        Args:
            **params: ``deep``, without effect.
        """
        return {"build_fn": self.build_fn, **self.sk_params}

    def set_params(self, **params):
        """Set arguments of the constructor and return self."""
        others = {name: value for name, value in params.items() if name != "build_fn"}
        build_fn, self.build_fn = self.build_fn, params.get("build_fn", self.build_fn)
        try:
            self.check_params(others)
        except ValueError:
            self.build_fn = build_fn
            raise
        self.sk_params.update(others)
        return self

    def filter_sk_params(self, fn, override=None):
        """Return those of the arguments that a function takes.

        Args:
            fn: function.
            override: dict that is added.
        """
        chosen = {k: v for k, v in self.sk_params.items() if _takes(fn, k)}
        return {**chosen, **(override or {})}

    def fit(self, x, y, **kwargs):
        """Build a new model and train it.

        Args:
            x, y: as for `Model.fit`.
            **kwargs: further arguments for it.

        Returns:
            `History`.
        """
        builder = self._builder()
        self.model = builder(**self.filter_sk_params(builder))
        if _one_hot(self.model) and np.ndim(y) != 2:
            y = to_categorical(y)
        options = self.filter_sk_params(Model.fit, kwargs)
        if "nb_epoch" in self.sk_params:
            options.setdefault("epochs", self.sk_params["nb_epoch"])
        return self.model.fit(x, y, **options)

    def _predicted(self, x, kwargs):
        self._need_fit()
        return self.model.predict(x, **self.filter_sk_params(Model.predict, kwargs))

    def _evaluated(self, x, y, kwargs):
        """Return name -> value."""
        self._need_fit()
        if _one_hot(self.model) and np.ndim(y) != 2:
            y = to_categorical(y, self.model.output_shape[-1])
        options = {"verbose": 0, **self.filter_sk_params(Model.evaluate, kwargs)}
        return self.model.evaluate(x, y, **{**options, "return_dict": True})

    def _need_fit(self):
        if not self.__sklearn_is_fitted__():
            raise RuntimeError(f"{type(self).__name__}: call fit() before")

    # -- what scikit-learn asks for ---------------------------------------------------------------

    @property
    def _estimator_type(self):
        return self._kind

    def __sklearn_is_fitted__(self):
        return getattr(self, "model", None) is not None

    def __sklearn_tags__(self):
        utils = optional.load("sklearn.utils", type(self).__name__, "scikit-learn")
        return utils.Tags(
            estimator_type=self._kind,
            target_tags=utils.TargetTags(required=True),
            classifier_tags=utils.ClassifierTags() if self._kind == "classifier" else None,
            regressor_tags=utils.RegressorTags() if self._kind == "regressor" else None,
        )

    def __repr__(self):
        given = ", ".join(f"{name}={value!r}" for name, value in self.get_params().items())
        return f"{type(self).__name__}({given})"


class KerasClassifier(BaseWrapper):
    """A model as a classifier of scikit-learn; labels may be of any kind.

    Args:
        build_fn, **sk_params: see `BaseWrapper`.

    Attributes:
        classes_: numpy array of the labels, sorted.
        n_classes_: int.
    """

    _kind = "classifier"

    def fit(self, x, y, sample_weight=None, **kwargs):
        """Build a new model and train it.

        Args:
            x: as for `Model.fit`.
            y: labels (N,) or (N, 1), or one-hot rows.
            sample_weight: array (N,).
            **kwargs: further arguments of `Model.fit`.

        Returns:
            `History`.

        Raises:
            ValueError: labels of another shape.
        """
        y = np.asarray(y)
        if y.ndim == 2 and y.shape[1] > 1:
            self.classes_ = np.arange(y.shape[1])
        elif y.ndim == 1 or (y.ndim == 2 and y.shape[1] == 1):
            self.classes_, y = np.unique(y, return_inverse=True)
            y = y.reshape(-1)
        else:
            raise ValueError(f"KerasClassifier: Invalid shape for y: {y.shape}")
        self.n_classes_ = len(self.classes_)
        if sample_weight is not None:
            kwargs["sample_weight"] = sample_weight
        return super().fit(x, y, **kwargs)

    def predict(self, x, **kwargs):
        """Return the labels (N,) that are most likely.

        Args:
            x: as for `Model.predict`, as are the further arguments.
        """
        p = self._predicted(x, kwargs)
        chosen = p.argmax(axis=-1) if p.shape[-1] > 1 else (p[..., 0] > 0.5).astype("int32")
        return self.classes_[chosen]

    def predict_proba(self, x, **kwargs):
        """Return how likely each of ``classes_`` is, as an array (N, classes)."""
        p = self._predicted(x, kwargs)
        return np.hstack([1 - p, p]) if p.shape[-1] == 1 else p

    def score(self, x, y, **kwargs):
        """Return the accuracy on data.

        Args:
            x, y: data and labels.
            **kwargs: further arguments of `Model.evaluate`.

        Raises:
            ValueError: the model was compiled without ``metrics=['accuracy']``.
        """
        y = np.asarray(y)
        if y.ndim == 1 or y.shape[1] == 1:
            y = self._numbers(y.reshape(-1))
        found = self._evaluated(x, y, kwargs)
        for name in ("accuracy", "acc"):
            if name in found:
                return found[name]
        raise ValueError(
            "KerasClassifier: The model is not configured to compute accuracy. You should pass "
            "`metrics=['accuracy']` to the `model.compile()` method."
        )

    def _numbers(self, y):
        self._need_fit()
        numbers = np.searchsorted(self.classes_, y).clip(max=self.n_classes_ - 1)
        unknown = self.classes_[numbers] != y
        if np.any(unknown):
            raise ValueError(
                f"KerasClassifier: labels {np.unique(y[unknown])[:5]} weren't among those of fit, "
                f"{self.classes_[:10]}"
            )
        return numbers


class KerasRegressor(BaseWrapper):
    """A model as a regressor of scikit-learn.

    Args:
        build_fn, **sk_params: see `BaseWrapper`.
    """

    _kind = "regressor"

    def predict(self, x, **kwargs):
        """Return the outputs; those of one unit as an array (N,).

        Args:
            x: as for `Model.predict`, as are the further arguments.
        """
        y = self._predicted(x, kwargs)
        return y[..., 0] if y.shape[-1] == 1 else y

    def score(self, x, y, **kwargs):
        """Return the negative loss on data, so that more is better.

        Args:
            x, y: data and targets.
            **kwargs: further arguments of `Model.evaluate`.
        """
        return -self._evaluated(x, y, kwargs)["loss"]


def _one_hot(model):
    """Return whether a model's loss wants one-hot rows."""
    return losses.function_of(model.loss) is functions.categorical_crossentropy


def _takes(function, name):
    """Return whether a function takes an argument of a name."""
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return False
    if name in parameters:
        return name != "self"
    open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    return open_ended and function not in (Model.fit, Model.predict, Model.evaluate)
