"""Configuration and weights of optimizers: round trips, Keras's files, error texts."""

import copy
import json
import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest
from test_optimizer_rules import RULES, make, make_grads, make_weights

from gpunet import optimizers, registry
from gpunet.errors import ShapeError, UnknownNameError
from gpunet.optimizers import schedules
from gpunet.variables import Variable

H5 = Path(__file__).resolve().parents[1] / "fixtures" / "h5"


@pytest.mark.parametrize("name", RULES)
def test_config_and_weights_make_an_equal_optimizer(name):
    first, second = make_weights(), make_weights()
    grads = make_grads(steps=6)
    a = make(name)
    a.clipnorm = 1.5
    for gs in grads[:3]:
        a.apply(first, gs)
    config = json.loads(json.dumps(optimizers.serialize(a)))
    b = optimizers.deserialize(config)
    assert type(b) is type(a) and b.get_config() == a.get_config() and b.clipnorm == 1.5
    b.build(second)
    b.set_weights(a.get_weights())
    for w, v in zip(first, second):
        v.assign(w.numpy())
    for gs in grads[3:]:
        a.apply(first, gs)
        b.apply(second, gs)
    for w, v in zip(first, second):
        np.testing.assert_allclose(w.numpy(), v.numpy(), rtol=1e-7)  # caches travel as float32
    assert int(b.iterations) == 6


def test_configs_are_those_of_keras():
    assert optimizers.SGD(0.1, clipvalue=0.5).get_config() == {
        "name": "SGD", "clipvalue": 0.5, "learning_rate": 0.1, "decay": 0.0, "momentum": 0.0,
        "nesterov": False}  # fmt: skip
    assert list(optimizers.Adam().get_config()) == [
        "name", "learning_rate", "decay", "beta_1", "beta_2", "epsilon", "amsgrad"]  # fmt: skip
    assert list(optimizers.RMSprop().get_config()) == [
        "name", "learning_rate", "decay", "rho", "momentum", "epsilon", "centered"]  # fmt: skip
    assert optimizers.Nadam().get_config()["decay"] == 0.004
    assert optimizers.AdamW().get_config() == {
        "name": "AdamW", "weight_decay": 0.004, "clipnorm": None, "global_clipnorm": None,
        "clipvalue": None, "use_ema": False, "ema_momentum": 0.99,
        "ema_overwrite_frequency": None, "jit_compile": True, "is_legacy_optimizer": False,
        "learning_rate": 0.001, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7,
        "amsgrad": False}  # fmt: skip
    for kind in ("SGD", "RMSprop", "Adagrad", "Adadelta", "Adam", "Adamax", "Nadam", "Ftrl"):
        values = getattr(optimizers, kind)().get_config().values()
        assert {type(v) for v in values} <= {str, float, bool}


def test_config_follows_what_was_assigned():
    optimizer = optimizers.SGD(0.1)
    optimizer.lr = 0.3
    assert optimizer.get_config()["learning_rate"] == 0.3
    optimizer.lr.assign(0.7)
    assert optimizer.get_config()["learning_rate"] == float(np.float32(0.7))


def test_old_and_new_configs():
    assert float(optimizers.SGD.from_config({"lr": 0.5, "momentum": 0.9}).lr) == 0.5
    old = optimizers.Nadam.from_config(
        {"lr": 0.01, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-8, "schedule_decay": 0.01}
    )
    assert old.schedule_decay == 0.01
    assert optimizers.Nadam.from_config(old.get_config()).schedule_decay == 0.01
    new = optimizers.deserialize({
        "class_name": "Custom>Adam",
        "config": {
            "name": "Adam", "weight_decay": None, "clipnorm": None, "global_clipnorm": None,
            "clipvalue": None, "use_ema": False, "ema_momentum": 0.99,
            "ema_overwrite_frequency": None, "jit_compile": False, "is_legacy_optimizer": False,
            "learning_rate": 0.01, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7,
            "amsgrad": False}})  # fmt: skip
    assert not new.is_legacy_optimizer
    three = optimizers.deserialize({
        "module": "keras.optimizers", "class_name": "SGD", "registered_name": None,
        "config": {
            "name": "SGD", "learning_rate": 0.01, "weight_decay": None, "clipnorm": None,
            "global_clipnorm": None, "clipvalue": None, "use_ema": False, "ema_momentum": 0.99,
            "ema_overwrite_frequency": None, "loss_scale_factor": None,
            "gradient_accumulation_steps": None, "momentum": 0.9, "nesterov": True}})  # fmt: skip
    assert three.nesterov and not three.is_legacy_optimizer


def test_schedules_in_configs():
    a = optimizers.Adam(schedules.ExponentialDecay(0.1, 10, 0.9, staircase=True))
    config = json.loads(json.dumps(optimizers.serialize(a)))
    assert config["config"]["learning_rate"]["class_name"] == "ExponentialDecay"
    b = optimizers.deserialize(config)
    assert b.lr.get_config() == a.lr.get_config()


def test_identifiers():
    for name in ("sgd", "SGD", "rmsprop", "RMSprop", "adam", "ADAM", "Nadam", "keras>Adam"):
        assert isinstance(optimizers.get(name), optimizers.Optimizer)
    optimizer = optimizers.Adam()
    assert optimizers.get(optimizer) is optimizer
    assert type(optimizers.get(optimizers.Adam)) is optimizers.Adam
    assert type(optimizers.get({"class_name": "adam", "config": {}})) is optimizers.Adam
    with pytest.raises(UnknownNameError, match="Unknown optimizer 'adem'; did you mean 'adam'"):
        optimizers.get("adem")
    for wrong in (None, 3, len):
        with pytest.raises(ValueError, match="Could not interpret optimizer identifier"):
            optimizers.get(wrong)

    class Mine(optimizers.SGD):
        pass

    with registry.custom_object_scope({"Mine": Mine}):
        assert type(optimizers.get("Mine")) is Mine
    mine = {"class_name": "Mine", "config": {}}
    assert type(optimizers.deserialize(mine, {"Mine": Mine})) is Mine


def test_wrong_arguments():
    with pytest.raises(TypeError, match="SGD: unexpected keyword argument 'lrate'"):
        optimizers.SGD(lrate=0.1)
    with pytest.raises(ValueError, match="lr=0.1 and learning_rate=0.2 are two spellings"):
        optimizers.SGD(learning_rate=0.2, lr=0.1)
    with pytest.raises(ValueError, match="momentum between 0 and 1, got 1.5"):
        optimizers.SGD(momentum=1.5)
    with pytest.raises(ValueError, match="clipnorm=1 and global_clipnorm=2 exclude each other"):
        optimizers.Adam(clipnorm=1, global_clipnorm=2)
    with pytest.raises(ValueError, match="expected clipnorm >= 0, got -1"):
        optimizers.Adam(clipnorm=-1)
    with pytest.raises(ValueError, match="use_ema=True isn't available"):
        optimizers.Adam(use_ema=True)
    with pytest.raises(TypeError, match="expected learning_rate to be a number or a Learning"):
        optimizers.Adam("fast")
    with pytest.raises(TypeError, match="expected learning_rate to be a number or a Learning"):
        optimizers.Adam(lambda: 0.1)
    with pytest.raises(ValueError, match="Nadam: a schedule"):
        optimizers.Nadam(schedules.ExponentialDecay(0.1, 10, 0.9))
    with pytest.raises(ValueError, match="Ftrl: expected learning_rate_power <= 0"):
        optimizers.Ftrl(learning_rate_power=1)


def dense():
    return [
        Variable(np.ones((6, 8), "float32"), name="dense/kernel:0"),
        Variable(np.ones(8, "float32"), name="dense/bias:0"),
        Variable(np.ones((8, 3), "float32"), name="dense_1/kernel"),
        Variable(np.ones(3, "float32"), name="dense_1/bias"),
    ]


@pytest.mark.parametrize("file", ["opt_adam", "newopt_adam"])
def test_files_of_keras(file):
    with h5py.File(H5 / f"{file}.h5") as stored:
        group = stored["optimizer_weights"]
        names = [str(n) for n in group.attrs["weight_names"]]
        values = [group[n][...] for n in names]
        config = json.loads(stored.attrs["training_config"])["optimizer_config"]
    optimizer = optimizers.deserialize(config)
    weights = dense()
    optimizer.build(weights)
    assert optimizer.weight_names == names
    optimizer.set_weights(values)
    for got, want in zip(optimizer.get_weights(), values):
        np.testing.assert_array_equal(got, want)
        assert got.dtype == want.dtype
    name = "Adam/dense_1/kernel/v:0" if file == "opt_adam" else "Adam/v/dense_1/kernel:0"
    slot = optimizer.get_slot(weights[2], "v")
    np.testing.assert_array_equal(slot.numpy(), values[names.index(name)])


NAMES = {
    "momentum": ["SGD/iter:0", "SGD/a/momentum:0", "SGD/b/momentum:0"],
    "adagrad": ["Adagrad/iter:0", "Adagrad/a/accumulator:0", "Adagrad/b/accumulator:0"],
    "adadelta": ["Adadelta/iter:0", "Adadelta/a/accum_grad:0", "Adadelta/b/accum_grad:0",
                 "Adadelta/a/accum_var:0", "Adadelta/b/accum_var:0"],
    "amsgrad": ["Adam/iter:0", "Adam/a/m:0", "Adam/b/m:0", "Adam/a/v:0", "Adam/b/v:0",
                "Adam/a/vhat:0", "Adam/b/vhat:0"],
    "nadam": ["Nadam/iter:0", "Nadam/momentum_cache:0", "Nadam/a/m:0", "Nadam/b/m:0",
              "Nadam/a/v:0", "Nadam/b/v:0"],
    "ftrl": ["Ftrl/iter:0", "Ftrl/a/accumulator:0", "Ftrl/a/linear:0", "Ftrl/b/accumulator:0",
             "Ftrl/b/linear:0"],
    "adamw": ["iteration:0", "AdamW/m/a:0", "AdamW/v/a:0", "AdamW/m/b:0", "AdamW/v/b:0"],
}  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_order_of_weights(name):
    weights = [Variable(np.zeros(2), name="a:0"), Variable(np.zeros(3), name="b:0")]
    optimizer = make(name)
    optimizer.build(weights)
    assert optimizer.weight_names == NAMES[name]
    assert len(optimizer.weights) == len(NAMES[name])
    assert optimizer.weights[0] is optimizer.iterations
    assert list(map(id, optimizer.variables())) == list(map(id, optimizer.weights))
    assert list(map(id, optimizer.variables)) == list(map(id, optimizer.weights))


def test_newer_names():
    weights = [Variable(np.zeros(2), name="a:0"), Variable(np.zeros(3), name="b:0")]
    for optimizer, names in [
        (optimizers.RMSprop(momentum=0.9, centered=True, is_legacy_optimizer=False),
         ["iteration:0", "RMSprop/velocity/a:0", "RMSprop/velocity/b:0", "RMSprop/momentum/a:0",
          "RMSprop/momentum/b:0", "RMSprop/average_gradient/a:0", "RMSprop/average_gradient/b:0"]),
        (optimizers.Adam(amsgrad=True, is_legacy_optimizer=False),
         ["iteration:0", "Adam/m/a:0", "Adam/v/a:0", "Adam/m/b:0", "Adam/v/b:0", "Adam/vhat/a:0",
          "Adam/vhat/b:0"]),
        (optimizers.SGD(is_legacy_optimizer=False), ["iteration:0", "SGD/m/a:0", "SGD/m/b:0"]),
        (optimizers.Adamax(is_legacy_optimizer=False),
         ["iteration:0", "Adamax/m/a:0", "Adamax/u/a:0", "Adamax/m/b:0", "Adamax/u/b:0"]),
        (optimizers.Nadam(is_legacy_optimizer=False),
         ["iteration:0", "Nadam/m/a:0", "Nadam/v/a:0", "Nadam/m/b:0", "Nadam/v/b:0"]),
    ]:  # fmt: skip
        optimizer.build(weights)
        assert optimizer.weight_names == names


def test_lists_that_older_versions_wrote():
    weights = make_weights()
    slots = [np.full(w.shape, i + 1.0) for i, w in enumerate(weights)]

    adam = optimizers.Adam()
    adam.build(weights)
    adam.set_weights([np.float32(7), *slots, *slots, *[np.zeros(1)] * 5])
    assert int(adam.iterations) == 7
    np.testing.assert_array_equal(adam.get_slot(weights[3], "v").numpy(), slots[3])

    rmsprop = optimizers.RMSprop()
    rmsprop.build(weights)
    rmsprop.set_weights(slots)
    assert int(rmsprop.iterations) == 0
    np.testing.assert_array_equal(rmsprop.get_slot(weights[3], "rms").numpy(), slots[3])

    sgd = optimizers.SGD()
    sgd.build(weights)
    sgd.set_weights([np.int64(4), *slots])
    assert int(sgd.iterations) == 4

    keras3 = optimizers.SGD(momentum=0.9, is_legacy_optimizer=False)
    keras3.build(weights)
    keras3.set_weights([np.int32(4), np.float32(0.25), *slots])
    assert float(keras3.lr) == 0.25 and int(keras3.iterations) == 4


@pytest.mark.parametrize("name", RULES)
def test_state_from_before_the_first_step(name):
    unused = make(name)
    weights, fresh = make_weights(), make_weights()
    loaded = make(name)
    loaded.build(weights)
    loaded.set_weights(unused.get_weights())
    for gs in make_grads(steps=3):
        loaded.apply(weights, gs)
        unused.apply(fresh, gs)
    for got, want in zip(weights, fresh):
        np.testing.assert_array_equal(got.numpy(), want.numpy())


def test_wrong_weights_change_nothing():
    weights = make_weights()
    optimizer = optimizers.Adam()
    with pytest.raises(ShapeError, match=r"expected 1 arrays, got 11; build\(weights\) makes"):
        optimizer.set_weights([np.zeros(1)] * 11)
    optimizer.apply(weights, make_grads(steps=1)[0])
    before = optimizer.get_weights()
    wrong = [w + 1 for w in before]
    wrong[-1] = np.zeros(9)
    with pytest.raises(ShapeError, match=r"shape \(1,\) for 'Adam/layer/w4/v:0', got \(9,\)"):
        optimizer.set_weights(wrong)
    with pytest.raises(ValueError, match="expected 11 arrays, got 3"):
        optimizer.set_weights(wrong[:3])
    for got, want in zip(optimizer.get_weights(), before):
        np.testing.assert_array_equal(got, want)


def test_copies():
    optimizer = optimizers.SGD(0.1, momentum=0.5)
    optimizer.iterations = 5
    for made in (copy.deepcopy(optimizer), pickle.loads(pickle.dumps(optimizer))):
        assert made.get_config() == optimizer.get_config() and int(made.iterations) == 5
        assert made.lr is not optimizer.lr


def test_lists_keep_their_order_when_weights_come_in_groups():
    weights = make_weights([(20, 20), (2,), (3,)])
    optimizer = optimizers.Adam()
    optimizer.build(weights[1:2])
    optimizer.build(weights)
    assert optimizer.weight_names[1:] == [
        "Adam/layer/w1/m:0", "Adam/layer/w1/v:0", "Adam/layer/w0/m:0", "Adam/layer/w2/m:0",
        "Adam/layer/w0/v:0", "Adam/layer/w2/v:0"]  # fmt: skip
