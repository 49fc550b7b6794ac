import numpy as np
import pytest
from keras_values import assert_close, of_kind, tensor

from gpunet import constraints


@pytest.mark.parametrize("case", of_kind("constraint"))
def test_values_are_keras(case):
    w = tensor(case["inputs"][0])
    before = w.numpy()
    assert_close(getattr(constraints, case["name"])(**case["config"])(w), case["outputs"]["w"])
    np.testing.assert_array_equal(w.numpy(), before)


@pytest.mark.parametrize(
    "made, config",
    [
        (constraints.MaxNorm(3, axis=[0, 1]), {"max_value": 3, "axis": [0, 1]}),
        (constraints.NonNeg(), {}),
        (constraints.UnitNorm(axis=1), {"axis": 1}),
        (
            constraints.MinMaxNorm(0.5, 2.0, 0.1),
            {"min_value": 0.5, "max_value": 2.0, "rate": 0.1, "axis": 0},
        ),
        (constraints.RadialConstraint(), {}),
    ],
)
def test_configs(made, config):
    assert constraints.serialize(made) == {"class_name": type(made).__name__, "config": config}
    again = constraints.deserialize(constraints.serialize(made))
    assert type(again) is type(made) and again.get_config() == config


@pytest.mark.parametrize(
    "names, kind",
    [
        (("max_norm", "maxnorm", "MaxNorm"), constraints.MaxNorm),
        (("non_neg", "nonneg", "NonNeg"), constraints.NonNeg),
        (("unit_norm", "unitnorm", "UnitNorm"), constraints.UnitNorm),
        (("min_max_norm", "MinMaxNorm"), constraints.MinMaxNorm),
        (("radial_constraint", "RadialConstraint"), constraints.RadialConstraint),
    ],
)
def test_aliases(names, kind):
    for name in names:
        assert getattr(constraints, name) is kind
        assert type(constraints.get(name)) is kind


def test_rings_of_an_even_kernel():
    w = np.arange(16, dtype="float32").reshape(4, 4, 1, 1)
    made = np.asarray(constraints.RadialConstraint()(w))[..., 0, 0]
    np.testing.assert_array_equal(made[1:3, 1:3], 5)
    assert set(made[0]) == set(made[3]) == set(made[:, 0]) == set(made[:, 3]) == {15}


def test_get_takes_what_keras_takes():
    assert constraints.get(None) is None
    assert constraints.get(abs) is abs
    assert isinstance(constraints.get(constraints.NonNeg), constraints.NonNeg)


def test_errors():
    with pytest.raises(ValueError, match="Unknown constraint 'max_nrm'; did you mean 'max_norm'"):
        constraints.get("max_nrm")
    with pytest.raises(ValueError, match="RadialConstraint: expected a weight"):
        constraints.RadialConstraint()(np.ones((3, 3), "float32"))


def test_subclasses():
    class Half(constraints.Constraint):
        def __init__(self, by=2):
            self.by = by

        def __call__(self, w):
            return w / self.by

        def get_config(self):
            return {"by": self.by}

    made = constraints.deserialize(constraints.serialize(Half(by=4)), custom_objects={"Half": Half})
    assert made.by == 4
