"""Models in the shape that other packages expect: `scikit_learn`, loaded when first used."""

from gpunet.old_paths import lazy_modules

__all__ = ["scikit_learn"]

__getattr__ = lazy_modules(__name__, ("scikit_learn",))
