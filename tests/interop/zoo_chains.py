"""Chains of layers that cover every layer: name -> (shape of a sample, function of the layers).

The function takes ``keras.layers`` and returns what one tensor passes through. A shape of ``ids``
stands for whole numbers below ``IDS``.
"""

IDS = 11


def ids(*shape):
    return ("ids", shape)


CONVOLUTION = {
    "conv1d": ((10, 3), lambda L: [L.Conv1D(4, 3, activation="relu"), L.Conv1D(2, 2, strides=2)]),
    "conv1d_causal": ((9, 3), lambda L: [L.Conv1D(4, 2, padding="causal", dilation_rate=2)]),
    "conv1d_transpose": ((6, 3), lambda L: [L.Conv1DTranspose(2, 3, strides=2, padding="same")]),
    "conv2d": (
        (8, 7, 3),
        lambda L: [
            L.Conv2D(4, (3, 2), padding="same", activation="relu"),
            L.Conv2D(2, 3, strides=2, use_bias=False),
        ],
    ),
    "conv2d_dilated": ((8, 8, 2), lambda L: [L.Conv2D(3, 3, dilation_rate=(2, 1))]),
    "conv2d_groups": ((6, 6, 4), lambda L: [L.Conv2D(6, 3, groups=2)]),
    "conv2d_transpose": (
        (4, 5, 3),
        lambda L: [
            L.Conv2DTranspose(2, 3, strides=2),
            L.Conv2DTranspose(2, 3, padding="same", activation="tanh"),
        ],
    ),
    "conv3d": ((5, 5, 4, 2), lambda L: [L.Conv3D(3, 2, padding="same"), L.Conv3D(2, (3, 2, 2))]),
    "conv3d_transpose": ((3, 3, 2, 2), lambda L: [L.Conv3DTranspose(2, 2, strides=2)]),
    "depthwise1d": ((8, 3), lambda L: [L.DepthwiseConv1D(3, depth_multiplier=2)]),
    "depthwise2d": ((6, 6, 2), lambda L: [L.DepthwiseConv2D(3, padding="same")]),
    "separable1d": ((8, 3), lambda L: [L.SeparableConv1D(4, 3, activation="relu")]),
    "separable2d": ((6, 6, 2), lambda L: [L.SeparableConv2D(4, 3, depth_multiplier=2)]),
    "local1d": ((7, 3), lambda L: [L.LocallyConnected1D(4, 3)]),
    "local2d": ((5, 5, 2), lambda L: [L.LocallyConnected2D(3, (2, 3))]),
}
SPACE = {
    "space1d": (
        (8, 2),
        lambda L: [L.ZeroPadding1D(2), L.Cropping1D((1, 2)), L.UpSampling1D(2), L.Conv1D(2, 2)],
    ),
    "space2d": (
        (6, 6, 2),
        lambda L: [
            L.ZeroPadding2D(((1, 0), (2, 1))),
            L.Cropping2D((1, 2)),
            L.UpSampling2D((2, 3)),
            L.Conv2D(2, 2),
        ],
    ),
    "space3d": (
        (4, 4, 4, 2),
        lambda L: [L.ZeroPadding3D(1), L.Cropping3D(1), L.UpSampling3D(2), L.Conv3D(2, 2)],
    ),
    "bilinear": ((4, 4, 2), lambda L: [L.UpSampling2D(2, interpolation="bilinear"), L.Dense(2)]),
    "pool1d": (
        (12, 3),
        lambda L: [L.Dense(3), L.MaxPooling1D(2), L.AveragePooling1D(3, strides=1)],
    ),
    "pool2d": (
        (9, 9, 2),
        lambda L: [L.Dense(3), L.MaxPooling2D((2, 3)), L.AveragePooling2D(2, padding="same")],
    ),
    "pool3d": ((6, 6, 6, 2), lambda L: [L.Dense(2), L.MaxPooling3D(2), L.AveragePooling3D(2)]),
    "global_max1d": ((6, 3), lambda L: [L.Dense(4), L.GlobalMaxPooling1D()]),
    "global_average1d": ((6, 3), lambda L: [L.GlobalAveragePooling1D(), L.Dense(2)]),
    "global_max2d": ((5, 4, 3), lambda L: [L.Dense(4), L.GlobalMaxPooling2D()]),
    "global_average2d": ((5, 4, 3), lambda L: [L.GlobalAveragePooling2D(), L.Dense(2)]),
    "global_max3d": ((3, 3, 3, 2), lambda L: [L.Dense(4), L.GlobalMaxPooling3D()]),
    "global_average3d": ((3, 3, 3, 2), lambda L: [L.GlobalAveragePooling3D(), L.Dense(2)]),
    "reshaping": (
        (4, 6),
        lambda L: [
            L.Permute((2, 1)),
            L.Reshape((3, 8)),
            L.Flatten(),
            L.Dense(4),
            L.RepeatVector(3),
            L.Dense(2),
        ],
    ),
}
NORMS = {
    "batch_norm": (
        (6, 5, 3),
        lambda L: [
            L.Conv2D(4, 2, use_bias=False),
            L.BatchNormalization(),
            L.Activation("relu"),
        ],
    ),
    "batch_norm_bare": (
        (7,),
        lambda L: [L.BatchNormalization(momentum=0.9, scale=False, center=False), L.Dense(2)],
    ),
    "layer_norm": ((4, 6), lambda L: [L.LayerNormalization(), L.Dense(3)]),
    "group_norm": ((4, 6), lambda L: [L.GroupNormalization(groups=3), L.Dense(3)]),
    "unit_norm": ((6,), lambda L: [L.Dense(5), L.UnitNormalization()]),
    "spectral_norm": ((6,), lambda L: [L.SpectralNormalization(L.Dense(5)), L.Dense(2)]),
    "normalization": (
        (3,),
        lambda L: [L.Normalization(mean=[0.1, 0.2, 0.3], variance=[1.0, 2.0, 0.5]), L.Dense(2)],
    ),
    "noise": (
        (6,),
        lambda L: [
            L.GaussianNoise(0.1),
            L.Dense(5, activation="selu"),
            L.GaussianDropout(0.1),
            L.AlphaDropout(0.1),
            L.Dense(2),
        ],
    ),
    "spatial_dropout": (
        (4, 4, 3),
        lambda L: [
            L.SpatialDropout2D(0.2),
            L.Reshape((16, 3)),
            L.SpatialDropout1D(0.2),
            L.Reshape((4, 2, 2, 3)),
            L.SpatialDropout3D(0.2),
            L.Dense(2),
        ],
    ),
}
ACTIVATIONS = {
    "leaky_elu": ((6,), lambda L: [L.Dense(5), L.LeakyReLU(0.2), L.Dense(4), L.ELU(0.7)]),
    "prelu": ((5, 4), lambda L: [L.Dense(4), L.PReLU(), L.Dense(3), L.PReLU(shared_axes=[1])]),
    "relu_softmax": ((6,), lambda L: [L.Dense(5), L.ReLU(4.0), L.Dense(3), L.Softmax(axis=-1)]),
    "thresholded": ((6,), lambda L: [L.Dense(5), L.ThresholdedReLU(0.2), L.Dense(2)]),
    "functions": (
        (6,),
        lambda L: [
            L.Dense(5, activation=name)
            for name in ("elu", "selu", "softplus", "softsign", "tanh", "sigmoid", "gelu", "swish")
        ],
    ),
    "hard_sigmoid": ((6,), lambda L: [L.Dense(5, activation="hard_sigmoid"), L.Dense(2)]),
    "exponential": ((6,), lambda L: [L.Dense(3, activation="exponential"), L.Activation("tanh")]),
    "activity": (
        (6,),
        lambda L: [L.Dense(4), L.ActivityRegularization(l1=0.01, l2=0.02), L.Dense(2)],
    ),
}
RECURRENT = {
    "simple_rnn": ((5, 3), lambda L: [L.SimpleRNN(4, return_sequences=True), L.SimpleRNN(3)]),
    "lstm": ((5, 3), lambda L: [L.LSTM(4)]),
    "lstm_stack": (
        (5, 3),
        lambda L: [
            L.LSTM(4, return_sequences=True),
            L.LSTM(3, go_backwards=True, unit_forget_bias=False, use_bias=False),
        ],
    ),
    "lstm_hard": ((5, 3), lambda L: [L.LSTM(4, recurrent_activation="hard_sigmoid")]),
    "gru": ((5, 3), lambda L: [L.GRU(4, reset_after=True)]),
    "gru_before": ((5, 3), lambda L: [L.GRU(4, reset_after=False, return_sequences=True)]),
    "bidirectional": (
        (5, 3),
        lambda L: [
            L.Bidirectional(L.LSTM(3, return_sequences=True), merge_mode="sum"),
            L.Bidirectional(L.GRU(2, reset_after=True)),
        ],
    ),
    "bidirectional_two": (
        (5, 3),
        lambda L: [
            L.Bidirectional(
                L.LSTM(3), backward_layer=L.LSTM(3, go_backwards=True, activation="relu")
            )
        ],
    ),
    "cells": (
        (5, 3),
        lambda L: [
            L.RNN(L.LSTMCell(4), return_sequences=True),
            L.RNN(L.StackedRNNCells([L.GRUCell(3, reset_after=False), L.SimpleRNNCell(2)])),
        ],
    ),
    "distributed": (
        (4, 5, 3),
        lambda L: [
            L.TimeDistributed(L.Conv1D(4, 2)),
            L.TimeDistributed(L.LSTM(3)),
            L.TimeDistributed(L.Dense(2)),
        ],
    ),
    "convlstm1d": ((3, 6, 2), lambda L: [L.ConvLSTM1D(3, 2)]),
    "convlstm2d": ((3, 5, 5, 2), lambda L: [L.ConvLSTM2D(3, 2, return_sequences=True)]),
    "convlstm3d": ((2, 3, 3, 3, 1), lambda L: [L.ConvLSTM3D(2, 2)]),
    "embedding": (ids(6), lambda L: [L.Embedding(IDS, 4), L.Flatten(), L.Dense(2)]),
    "embedding_mask": (ids(6), lambda L: [L.Embedding(IDS, 4, mask_zero=True), L.LSTM(3)]),
    "masking": ((6, 3), lambda L: [L.Masking(0.5), L.GRU(4, reset_after=True)]),
}
OTHERS = {
    "einsum": ((4, 6), lambda L: [L.EinsumDense("abc,cd->abd", (4, 3), bias_axes="d")]),
    "rescaling": ((6, 6, 3), lambda L: [L.Rescaling(0.1, offset=1.0), L.Conv2D(2, 3)]),
    "resizing": ((6, 6, 3), lambda L: [L.Resizing(4, 5), L.CenterCrop(3, 3), L.Conv2D(2, 2)]),
    "random_images": (
        (6, 6, 3),
        lambda L: [
            L.RandomFlip("horizontal"),
            L.RandomRotation(0.1),
            L.RandomZoom(0.1),
            L.RandomTranslation(0.1, 0.1),
            L.RandomContrast(0.1),
            L.Conv2D(2, 3),
        ],
    ),
    "random_crops": (
        (6, 6, 3),
        lambda L: [L.RandomCrop(6, 6), L.RandomBrightness(0.1), L.Conv2D(2, 3)],
    ),
    "random_sizes": (
        (6, 6, 3),
        lambda L: [L.RandomHeight(0.1), L.RandomWidth(0.1), L.GlobalAveragePooling2D(), L.Dense(2)],
    ),
    "discretization": (
        (3,),
        lambda L: [L.Discretization(bin_boundaries=[-1.0, 0.0, 1.0]), L.Embedding(4, 2)],
    ),
    "category": (
        ids(4),
        lambda L: [L.CategoryEncoding(num_tokens=IDS, output_mode="multi_hot"), L.Dense(2)],
    ),
    "integer_lookup": (
        ids(4),
        lambda L: [L.IntegerLookup(vocabulary=[2, 4, 6, 8]), L.Embedding(5, 2)],
    ),
    "hashing": (ids(4), lambda L: [L.Hashing(num_bins=7), L.Embedding(7, 2)]),
    "identity": ((4,), lambda L: [L.Dense(3), L.Identity(), L.Dropout(0.0), L.Activation("tanh")]),
}

CHAINS = {**CONVOLUTION, **SPACE, **NORMS, **ACTIVATIONS, **RECURRENT, **OTHERS}
RANDOM = {"noise", "spatial_dropout", "random_images", "random_crops", "random_sizes"}
