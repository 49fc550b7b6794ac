"""Old path of the recurrent layers whose weights are those of cuDNN."""

from gpunet.layers.recurrent import CuDNNGRU, CuDNNLSTM

__all__ = ["CuDNNGRU", "CuDNNLSTM"]
