"""Settings: defaults, and what setters refuse."""

import numpy as np
import pytest

from gpunet import backend, config


@pytest.fixture(autouse=True)
def as_before():
    before = (config.floatx(), config.epsilon(), config.image_data_format())
    fused = config.fused_enabled()
    yield
    config.set_floatx(before[0])
    config.set_epsilon(before[1])
    config.set_image_data_format(before[2])
    config.set_fused(fused)


def test_defaults():
    assert config.floatx() == "float32"
    assert config.epsilon() == 1e-7
    assert config.image_data_format() == "channels_last"
    assert config.fused_enabled() is True


def test_setters():
    for name in ("float16", "float64", np.dtype("float32")):
        config.set_floatx(name)
        assert backend.floatx() == str(name) and type(backend.floatx()) is str
    config.set_epsilon(np.float32(0.5))
    assert backend.epsilon() == 0.5 and type(backend.epsilon()) is float
    config.set_image_data_format("channels_first")
    assert backend.image_data_format() == "channels_first"
    config.set_fused(0)
    assert config.fused_enabled() is False


@pytest.mark.parametrize("wrong", ["float8", "bfloat16", "int32", None, 32])
def test_floatx_errors(wrong):
    with pytest.raises(ValueError, match="set_floatx: expected one of float16, float32, float64"):
        config.set_floatx(wrong)
    assert config.floatx() == "float32"


@pytest.mark.parametrize("wrong", [0, -1e-7, float("nan"), float("inf"), "small", None, [1]])
def test_epsilon_errors(wrong):
    with pytest.raises(ValueError, match="set_epsilon: expected a float > 0, got"):
        config.set_epsilon(wrong)
    assert config.epsilon() == 1e-7


@pytest.mark.parametrize("wrong", ["NHWC", "channels", None, 1])
def test_image_data_format_errors(wrong):
    with pytest.raises(ValueError, match="expected one of channels_last, channels_first, got"):
        config.set_image_data_format(wrong)
    assert config.image_data_format() == "channels_last"
