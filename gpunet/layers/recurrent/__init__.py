"""Recurrent layers: the walk over time, the cells, and the layers made of both."""

from gpunet.layers.recurrent.base import RNN
from gpunet.layers.recurrent.cells import GRUCell, LSTMCell, SimpleRNNCell
from gpunet.layers.recurrent.cudnn import CuDNNGRU, CuDNNLSTM
from gpunet.layers.recurrent.parts import AbstractRNNCell
from gpunet.layers.recurrent.ready import GRU, LSTM, SimpleRNN
from gpunet.layers.recurrent.stacked import StackedRNNCells

__all__ = [
    "RNN",
    "AbstractRNNCell",
    "SimpleRNNCell",
    "GRUCell",
    "LSTMCell",
    "StackedRNNCells",
    "SimpleRNN",
    "GRU",
    "LSTM",
    "CuDNNGRU",
    "CuDNNLSTM",
]
