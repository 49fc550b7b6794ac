"""Names, numbers, and what a layer tells about its calls."""

import threading

import pytest

import gpunet
from gpunet import layers
from gpunet.context import get_uid, reset_uids, unique_name
from gpunet.errors import GraphError
from gpunet.layers import Dense, Input


@pytest.fixture(autouse=True)
def fresh_names():
    reset_uids()


def test_names_are_numbered_by_class():
    assert [Dense(1).name for _ in range(3)] == ["dense", "dense_1", "dense_2"]
    assert [Input((1,)).name for _ in range(2)] == ["input_1", "input_2"]
    assert layers.Flatten().name == "flatten"
    x = Input((1,))
    models = [gpunet.Model(x, Dense(1)(x)).name for _ in range(2)]
    assert models == ["model", "model_1"]
    assert [gpunet.Sequential().name for _ in range(2)] == ["sequential", "sequential_1"]


def test_given_names_are_not_given_again():
    assert Dense(1, name="dense").name == "dense"
    assert Dense(1, name="dense_2").name == "dense_2"
    assert [Dense(1).name for _ in range(3)] == ["dense_1", "dense_3", "dense_4"]
    assert Dense(1, name="dense").name == "dense"  # what users say holds
    assert Input((1,), name="input_1").name == "input_1"
    assert Input((1,)).name == "input_2"
    assert [get_uid("dense"), get_uid("dense"), get_uid("x")] == [1, 2, 1]


def test_names_from_many_threads_differ():
    found = []
    threads = [
        threading.Thread(target=lambda: found.extend(unique_name("t") for _ in range(200)))
        for _ in range(4)
    ]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(set(found)) == 800


def test_a_name_can_be_set():
    layer = Dense(1)
    layer.name = "renamed"
    assert layer.name == layer.get_config()["name"] == "renamed"


def test_one_call():
    a = Input(shape=(140, 256))
    dense = Dense(32)
    encoded_a = dense(a)
    assert dense.output == encoded_a and dense.input == a
    assert dense.input_shape == (None, 140, 256) and dense.output_shape == (None, 140, 32)
    assert dense.get_output_at(0) == encoded_a and dense.get_input_at(-1) == a
    assert encoded_a._keras_history == (dense, 0, 0)
    assert dense.input_mask is None and dense.get_output_mask_at(0) is None
    assert a.node.outbound_layer.outbound_nodes == dense.inbound_nodes
    assert dense.inbound_nodes[0].inbound_layers == [a.node.layer]


def test_several_calls():
    a, b = Input(shape=(140, 256)), Input(shape=(140, 256))
    dense = Dense(32)
    encoded_a, encoded_b = dense(a), dense(b)
    text = (
        'Layer dense has multiple inbound nodes, hence the notion of "layer output" is '
        "ill-defined. Use `get_output_at(node_index)` instead."
    )
    with pytest.raises(AttributeError) as error:
        dense.output  # noqa: B018
    assert str(error.value) == text
    with pytest.raises(AttributeError) as error:
        dense.input  # noqa: B018
    assert str(error.value) == text.replace("output", "input")
    assert dense.get_output_at(0) == encoded_a
    assert dense.get_output_at(1) == encoded_b
    assert dense.get_input_at(1) == b
    assert dense.output_shape == (None, 140, 32)  # the same for both
    with pytest.raises(ValueError, match="output at node 2, but the layer has only 2 inbound"):
        dense.get_output_at(2)


def test_calls_of_different_shapes():
    a, b = Input(shape=(32, 3)), Input(shape=(64, 3))
    dense = Dense(16)
    dense(a)
    assert dense.input_shape == (None, 32, 3)
    dense(b)
    with pytest.raises(AttributeError, match="get_input_shape_at"):
        dense.input_shape  # noqa: B018
    with pytest.raises(AttributeError, match="get_output_shape_at"):
        dense.output_shape  # noqa: B018
    assert dense.get_input_shape_at(0) == (None, 32, 3)
    assert dense.get_input_shape_at(1) == (None, 64, 3)
    assert dense.get_output_shape_at(1) == (None, 64, 16)


def test_no_calls():
    dense = Dense(3)
    for name in ("input", "output", "input_shape", "output_shape", "input_mask", "output_mask"):
        with pytest.raises(AttributeError, match="Layer dense has no inbound nodes"):
            getattr(dense, name)
        assert not hasattr(dense, name)
    with pytest.raises(AttributeError, match="no inbound nodes"):
        dense.get_output_at(0)


def test_several_inputs():
    a, b = Input((3,)), Input((3,))
    layer = layers.Add()
    y = layer([a, b])
    assert layer.input == [a, b] and layer.output is y
    assert layer.input_shape == [(None, 3), (None, 3)] and layer.output_shape == (None, 3)
    assert y.node.input_tensors == [a, b] and y.node.node_indices == [0, 0]


def test_a_models_own_node_comes_first():
    x = Input((3,))
    model = gpunet.Model(x, Dense(2)(x))
    assert model.get_output_at(0) is model.output and model.get_input_at(0) is x
    a = Input((3,))
    y = model(a)
    assert model.get_output_at(1) is y and model.output is not y
    assert model.input is x and model.output_shape == (None, 2)


def test_a_tensor_from_a_finished_trace_belongs_to_no_graph():
    class Leaks(layers.Layer):
        def call(self, x):
            self.inside = x + 1.0
            return x

    layer = Leaks()
    layer(Input((3,)))
    with pytest.raises(GraphError, match="Input()"):
        Dense(1)(layer.inside)
    with pytest.raises(GraphError, match="Input()"):
        gpunet.Model(Input((3,)), layer.inside)


def test_symbolic_tensors_have_no_values():
    x = Input((3,), name="x")
    for read in (bool, float, int, len, list, lambda t: t.numpy(), lambda t: [1, 2][t]):
        with pytest.raises(TypeError, match="x"):
            read(x)
    assert x.shape.as_list() == [None, 3] and x.ndim == x.rank == 2 and x.shape[1].value == 3
    assert x._keras_shape == (None, 3) and x.get_shape() == (None, 3) and x.dtype == "float32"
    assert [t.shape for t in Input(batch_shape=(2, 3))] == [(3,), (3,)]
