"""Learning-rate schedules: values as tf_keras 2.21 gives them, configs, devices."""

import numpy as np
import pytest
from fake_device import capture, fake_device, to_host

from gpunet import optimizers
from gpunet.optimizers import schedules
from gpunet.tensor import Tensor

STEPS = [0, 1, 5, 6, 7, 20, 21, 25, 40, 41]

# schedule -> what tf_keras gave for STEPS
CASES = [
        (schedules.ExponentialDecay(initial_learning_rate=0.1, decay_steps=10, decay_rate=0.9,
      staircase=False),
          [0.1, 0.09895193, 0.094868325, 0.09387404, 0.092890166, 0.08099999, 0.08015106,
      0.07684334, 0.06560999, 0.064922355]),
        (schedules.ExponentialDecay(initial_learning_rate=0.1, decay_steps=10, decay_rate=0.9,
      staircase=True),
          [0.1, 0.1, 0.1, 0.1, 0.1, 0.08099999, 0.08099999, 0.08099999, 0.06560999, 0.06560999]),
        (schedules.PiecewiseConstantDecay(boundaries=[5, 20], values=[1.0, 0.5, 0.1]),
          [1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.1, 0.1, 0.1, 0.1]),
        (schedules.PolynomialDecay(initial_learning_rate=0.1, decay_steps=20,
      end_learning_rate=0.0001, power=2.0, cycle=False),
          [0.1, 0.090259746, 0.056293752, 0.049050998, 0.042307746, 1e-04, 1e-04, 1e-04, 1e-04,
      1e-04]),
        (schedules.PolynomialDecay(initial_learning_rate=0.1, decay_steps=20,
      end_learning_rate=0.01, power=1.0, cycle=True),
          [0.1, 0.0955, 0.0775, 0.073, 0.0685, 0.01, 0.052750006, 0.043750003, 0.01, 0.0385]),
        (schedules.InverseTimeDecay(initial_learning_rate=0.1, decay_steps=10, decay_rate=0.5,
      staircase=False),
          [0.1, 0.095238104, 0.08, 0.07692308, 0.074074075, 0.05, 0.04878049, 0.044444446,
      0.033333335, 0.032786887]),
        (schedules.InverseTimeDecay(initial_learning_rate=0.1, decay_steps=10, decay_rate=0.5,
      staircase=True),
          [0.1, 0.1, 0.1, 0.1, 0.1, 0.05, 0.05, 0.05, 0.033333335, 0.033333335]),
        (schedules.CosineDecay(initial_learning_rate=0.1, decay_steps=30, alpha=0.1,
      warmup_target=None, warmup_steps=0),
          [0.1, 0.099753484, 0.09397115, 0.091405764, 0.08844151, 0.032499995, 0.028549666,
      0.016028857, 0.010000001, 0.010000001]),
        (schedules.CosineDecay(initial_learning_rate=0.01, decay_steps=30, alpha=0.1,
      warmup_target=0.1, warmup_steps=5),
          [0.01, 0.028, 0.1, 0.099753484, 0.099016644, 0.054999996, 0.050296213, 0.032499995,
      0.010000001, 0.010000001]),
        (schedules.CosineDecayRestarts(initial_learning_rate=0.1, first_decay_steps=7, t_mul=2.0,
      m_mul=0.8, alpha=0.05),
          [0.1, 0.09529602, 0.022884225, 0.009703977, 0.081, 0.0059527378, 0.0658, 0.062789455,
      0.019226221, 0.016445907]),
        (schedules.CosineDecayRestarts(initial_learning_rate=0.1, first_decay_steps=7, t_mul=1.0,
      m_mul=0.8, alpha=0.05),
          [0.1, 0.09529602, 0.022884225, 0.009703977, 0.081, 0.008010542, 0.053640004,
      0.023908293, 0.010860301, 0.0065413974]),
]  # fmt: skip


@pytest.mark.parametrize("schedule, expected", CASES)
def test_values(schedule, expected):
    got = [float(schedule(step)) for step in STEPS]
    np.testing.assert_allclose(got, expected, rtol=3e-5)
    assert schedule(3).dtype == "float32" and schedule(3).shape == ()
    assert schedule(Tensor(np.asarray(3.0))).dtype == "float64"


@pytest.mark.parametrize("schedule, expected", CASES)
def test_config_round_trip(schedule, expected):
    config = schedules.serialize(schedule)
    assert config["class_name"] == type(schedule).__name__
    again = schedules.deserialize({"module": "keras.optimizers.schedules", **config})
    assert again.get_config() == schedule.get_config()
    assert float(again(9)) == float(schedule(9))


@pytest.mark.parametrize("schedule, expected", CASES)
def test_no_value_is_read_by_the_host(schedule, expected):
    with fake_device() as device:
        steps = [device.xp.asarray(s, dtype="int64") for s in STEPS]
        with capture():
            rates = [schedule(Tensor(s)).array for s in steps]
        np.testing.assert_allclose([to_host(r) for r in rates], expected, rtol=3e-5)


def test_restarts_begin_at_the_right_step():
    schedule = schedules.CosineDecayRestarts(1.0, 10, t_mul=3.0)
    for restart in (0, 10, 40, 130, 400, 1210, 3640):
        assert float(schedule(restart)) == pytest.approx(1.0)


def test_errors():
    with pytest.raises(ValueError, match="2 boundaries and 2 values"):
        schedules.PiecewiseConstantDecay([1, 2], [0.1, 0.2])
    with pytest.raises(NotImplementedError, match="must override __call__"):
        schedules.LearningRateSchedule()(1)
    with pytest.raises(NotImplementedError, match="must override get_config"):
        schedules.LearningRateSchedule().get_config()
    assert optimizers.schedules is schedules
