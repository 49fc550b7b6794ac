"""Which of an op's implementations runs."""

import numpy as np
import pytest

from gpunet import GradientTape, config
from gpunet.autodiff import differentiable
from gpunet.tensor import Tensor


@pytest.fixture
def cube():
    """A new op, its fusion for long arrays, and the list of what ran."""
    ran = []

    @differentiable
    def cube(xp, x, /, scale=1.0):
        ran.append("plain")
        return scale * x * x * x, (x, scale)

    @cube.backward
    def cube_backward(xp, saved, gy, needs):
        ran.append("plain backward")
        x, scale = saved
        return (gy * (3.0 * scale * x * x),)

    @cube.fused(when=lambda xp, x, scale=1.0: x.ndim == 1 and x.shape[0] > 3 and scale > 0)
    def cube_fused(xp, x, scale=1.0):
        ran.append("fused")
        return scale * x**3, (3 * scale * x**2,)

    @cube_fused.backward
    def cube_fused_backward(xp, saved, gy, needs):
        ran.append("fused backward")
        return (gy * saved[0],)

    yield cube, cube_fused, ran
    config.set_fused(True)


def gradient(op, x, **options):
    x = Tensor(x)
    with GradientTape() as tape:
        tape.watch(x)
        y = op(x, **options)
    return y.numpy(), tape.gradient(y, x).numpy()


LONG, SHORT = np.linspace(1.0, 2.0, 5), np.linspace(1.0, 2.0, 3)


def test_condition_chooses(cube):
    op, _, ran = cube
    gradient(op, LONG)
    gradient(op, SHORT)
    gradient(op, LONG, scale=-1.0)
    assert ran == ["fused", "fused backward", *["plain", "plain backward"] * 2]


def test_switched_off(cube):
    op, _, ran = cube
    fused = gradient(op, LONG, scale=2.0)
    config.set_fused(False)
    plain = gradient(op, LONG, scale=2.0)
    assert ran == ["fused", "fused backward", "plain", "plain backward"]
    np.testing.assert_allclose(fused, plain, rtol=1e-14)


def test_switching_between_forward_and_backward(cube):
    """What the forward half saved is read by the backward half that belongs to it."""
    op, _, ran = cube
    x = Tensor(LONG)
    with GradientTape() as tape:
        tape.watch(x)
        y = op(x)
    config.set_fused(False)
    np.testing.assert_allclose(tape.gradient(y, x), 3 * LONG**2)
    assert ran == ["fused", "fused backward"]


def test_first_fitting_one_runs(cube):
    op, _, ran = cube

    @op.fused(when=lambda xp, x, **_: True)
    def second(xp, x, scale=1.0):
        ran.append("second")
        return scale * x**3, None

    op(Tensor(LONG))
    op(Tensor(SHORT))
    assert ran == ["fused", "second"]


def test_fusion_without_backward_only_where_no_gradient_is_wanted(cube):
    op, fusion, ran = cube
    fusion.pull = None
    op(Tensor(LONG))
    _, slope = gradient(op, LONG)
    np.testing.assert_allclose(slope, 3 * LONG**2)
    assert ran == ["fused", "plain", "plain backward"]


def test_second_derivative_takes_the_plain_pair(cube):
    op, _, ran = cube
    x = Tensor(LONG)
    with GradientTape() as outer:
        outer.watch(x)
        with GradientTape() as inner:
            inner.watch(x)
            y = op(x)
        slope = inner.gradient(y, x)
    np.testing.assert_allclose(outer.gradient(slope, x), 6 * LONG)
    assert ran == ["fused", "plain", "plain backward"]
