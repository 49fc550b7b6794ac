"""Old path of the recurrent layers that convolve."""

from gpunet.layers.convlstm import ConvLSTM2D, ConvLSTM2DCell

__all__ = ["ConvLSTM2D", "ConvLSTM2DCell"]
