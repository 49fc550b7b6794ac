"""Learning phase, name scopes, name counters."""

import asyncio
import threading

import pytest

from gpunet import context

# Class name -> what Keras 2.3 makes of it: the stem of a layer's automatic name.
NAMES = {
    "Dense": "dense",
    "InputLayer": "input_layer",
    "Conv1D": "conv1d",
    "Conv2D": "conv2d",
    "Conv2DTranspose": "conv2d_transpose",
    "SeparableConv2D": "separable_conv2d",
    "DepthwiseConv2D": "depthwise_conv2d",
    "ConvLSTM2D": "conv_lst_m2d",
    "ConvLSTM2DCell": "conv_lst_m2d_cell",
    "UpSampling2D": "up_sampling2d",
    "ZeroPadding3D": "zero_padding3d",
    "Cropping1D": "cropping1d",
    "MaxPooling2D": "max_pooling2d",
    "AveragePooling1D": "average_pooling1d",
    "GlobalMaxPooling1D": "global_max_pooling1d",
    "GlobalAveragePooling2D": "global_average_pooling2d",
    "SimpleRNN": "simple_rnn",
    "SimpleRNNCell": "simple_rnn_cell",
    "StackedRNNCells": "stacked_rnn_cells",
    "RNN": "rnn",
    "GRU": "gru",
    "GRUCell": "gru_cell",
    "LSTM": "lstm",
    "LSTMCell": "lstm_cell",
    "CuDNNGRU": "cu_dnngru",
    "CuDNNLSTM": "cu_dnnlstm",
    "Bidirectional": "bidirectional",
    "TimeDistributed": "time_distributed",
    "BatchNormalization": "batch_normalization",
    "Embedding": "embedding",
    "LocallyConnected2D": "locally_connected2d",
    "SpatialDropout1D": "spatial_dropout1d",
    "AlphaDropout": "alpha_dropout",
    "GaussianNoise": "gaussian_noise",
    "ActivityRegularization": "activity_regularization",
    "LeakyReLU": "leaky_re_lu",
    "PReLU": "p_re_lu",
    "ReLU": "re_lu",
    "ELU": "elu",
    "ThresholdedReLU": "thresholded_re_lu",
    "Softmax": "softmax",
    "RepeatVector": "repeat_vector",
    "Concatenate": "concatenate",
    "TFOpLambda": "tf_op_lambda",
    "_Mine": "private__mine",
    "MyLayer2": "my_layer2",
    "AUC": "auc",
    "MeanIoU": "mean_io_u",
}


@pytest.mark.parametrize(("name", "wanted"), NAMES.items())
def test_snake_case(name, wanted):
    assert context.snake_case(name) == wanted


# -- learning phase -------------------------------------------------------------------------


def test_learning_phase():
    assert context.learning_phase() == 0
    with context.learning_phase_scope(1):
        assert context.learning_phase() == 1
        with context.learning_phase_scope(None):
            assert context.learning_phase() == 1
        with context.learning_phase_scope(0):
            assert context.learning_phase() == 0
        assert context.learning_phase() == 1
    assert context.learning_phase() == 0


def test_set_learning_phase():
    context.set_learning_phase(True)
    try:
        assert context.learning_phase() == 1 and type(context.learning_phase()) is int
        with context.learning_phase_scope(0):
            assert context.learning_phase() == 0
    finally:
        context.set_learning_phase(0)
    for wrong in (2, -1, "train", None):
        with pytest.raises(ValueError, match="expected 0 or 1"):
            context.set_learning_phase(wrong)


def test_scopes_end_with_an_exception():
    with pytest.raises(KeyError), context.learning_phase_scope(1), context.name_scope("a"):
        raise KeyError
    assert context.learning_phase() == 0 and context.scoped_name("x") == "x"


def test_tracing():
    assert not context.tracing()
    with context.trace_scope():
        assert context.tracing()
    assert not context.tracing()


def test_name_scopes():
    with context.name_scope("outer"), context.name_scope("inner"):
        assert context.scoped_name("w") == "outer/inner/w"
    assert context.scoped_name("w") == "w"


def test_threads_see_none_of_it():
    seen = []

    def look():
        seen.append((context.learning_phase(), context.scoped_name("w"), context.tracing()))

    with context.learning_phase_scope(1), context.name_scope("a"), context.trace_scope():
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
    assert seen == [(0, "w", False)]


def test_tasks_have_their_own():
    async def work(phase):
        with context.learning_phase_scope(phase), context.name_scope(str(phase)):
            await asyncio.sleep(0)
            return context.learning_phase(), context.scoped_name("w")

    async def both():
        return await asyncio.gather(work(0), work(1))

    assert asyncio.run(both()) == [(0, "0/w"), (1, "1/w")]


# -- counters -------------------------------------------------------------------------------


@pytest.fixture
def fresh():
    """Start with counters at zero, and again for those who come after."""
    context.reset_uids()
    yield
    context.reset_uids()


def test_uids(fresh):
    assert [context.get_uid("a"), context.get_uid("a"), context.get_uid("b")] == [1, 2, 1]
    assert context.get_uid() == 1
    context.reset_uids()
    assert context.get_uid("a") == 1


def test_unique_names(fresh):
    assert [context.unique_name("dense") for _ in range(3)] == ["dense", "dense_1", "dense_2"]
    assert [context.unique_name("input", first=1) for _ in range(2)] == ["input_1", "input_2"]


def test_given_names_are_kept_and_not_given_again(fresh):
    assert context.unique_name("dense", "dense_1") == "dense_1"
    assert [context.unique_name("dense") for _ in range(2)] == ["dense", "dense_2"]
    assert context.unique_name("dense", "dense") == "dense"


def test_names_are_unique_among_threads(fresh):
    names, uids = [], []

    def make():
        for _ in range(200):
            names.append(context.unique_name("dense"))
            uids.append(context.get_uid("layer"))

    threads = [threading.Thread(target=make) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(set(names)) == len(names) == 800
    assert sorted(uids) == list(range(1, 801))
