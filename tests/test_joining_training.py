"""Training steps whose lines are joined, forward and back: the bits of steps that aren't."""

import numpy as np
import pytest

from gpunet import layers, models, optimizers
from gpunet.utils import set_random_seed

RNG = np.random.default_rng(11)


def chain(x, *inner):
    for layer in inner:
        x = layer(x)
    return x


def conv(filters=16, **options):
    return layers.Conv2D(filters, 3, **{"padding": "same", **options})


def norm(**options):
    return layers.BatchNormalization(**options)


def relu():
    return layers.Activation("relu")


def plain(x):
    return chain(x, conv(), norm(), relu(), conv(), norm(), relu())


def shortcut(x):
    x = chain(x, conv(), norm(), relu())
    y = chain(x, conv(), norm(), relu(), conv(), norm())
    return chain(layers.add([x, y]), relu(), conv(4))


def projected(x):
    x = chain(x, conv(), norm(), relu())
    y = chain(x, conv(32, strides=2), norm(), relu(), conv(32), norm())
    short = layers.Conv2D(32, 1, strides=2)(x)
    return chain(layers.add([short, y]), relu(), conv(8))


def projected_later(x):
    x = chain(x, conv(), norm(), relu())
    y = chain(x, conv(), norm())
    short = layers.Conv2D(16, 1)(x)
    return chain(layers.add([y, short]), relu(), conv(4))


def before_convolutions(x):
    x = conv()(x)
    y = chain(x, norm(), relu(), conv(), norm(), relu(), conv())
    return chain(layers.add([x, y]), norm(), relu())


def without_scale(x):
    return chain(x, conv(), norm(scale=False), relu(), conv(), norm(center=False), relu())


def tanh(x):
    return chain(x, conv(), norm(), layers.Activation("tanh"), conv(), norm())


def relu6(x):
    return chain(x, conv(), norm(), layers.ReLU(6.0), layers.DepthwiseConv2D(3), norm(), relu())


def own_relu(x):
    x = conv(activation="relu")(x)
    y = chain(x, conv(activation="relu"), conv(activation="relu"))
    return layers.add([x, y])


def relus_pooled(x):
    """Windows that leave a rest, that overlap, and means."""
    x = chain(x, conv(activation="relu"), layers.MaxPooling2D(3), conv(activation="relu"))
    x = chain(x, layers.MaxPooling2D(3, strides=2), conv(32, activation="relu"))
    return layers.AveragePooling2D(2)(x)


def large_images_pooled(x):
    """Images in several blocks, behind which rows are left over."""
    x = chain(layers.UpSampling2D(8)(x), layers.Conv2D(8, 1, activation="relu"))
    return chain(x, layers.MaxPooling2D(3), layers.Conv2D(4, 1), layers.MaxPooling2D(9))


def relus_transposed(x):
    x = chain(x, conv(strides=2, activation="relu"))
    x = chain(x, layers.Conv2DTranspose(16, 3, strides=2, activation="relu"))
    return chain(x, layers.Conv2DTranspose(16, 3, activation="relu"), layers.UpSampling2D(2))


def channels_first(x):
    def pool(**options):
        return layers.MaxPooling2D(2, data_format="channels_first", **options)

    x = chain(x, conv(), layers.Permute((3, 1, 2)), pool(strides=1, padding="same"))
    return chain(x, relu(), pool())


def transposed(x):
    x = chain(x, conv(strides=2), norm(), relu())
    return chain(x, layers.Conv2DTranspose(16, 3, strides=2), norm(), relu())


def three_ways(x):
    x = chain(x, conv(), norm(), relu())
    return layers.add([chain(x, conv()), chain(x, conv(), norm()), chain(x, conv(), norm()), x])


def pooled(x):
    x = chain(x, conv(), norm(), relu(), layers.MaxPooling2D(2), conv(), norm(), relu())
    return layers.AveragePooling2D(2)(x)


def volumes(x):
    x = layers.Reshape((32, 8, 4, 3))(x)
    return chain(x, layers.Conv3D(16, 3, padding="same"), norm(), relu(), layers.Conv3D(16, 2))


NETS = [plain, shortcut, projected, projected_later, before_convolutions, without_scale, tanh,
        relu6, own_relu, relus_pooled, large_images_pooled, relus_transposed, channels_first,
        transposed, three_ways, pooled, volumes]  # fmt: skip
X = RNG.normal(size=(9, 32, 32, 3)).astype("float32")
Y = RNG.normal(size=(9, 2)).astype("float32")


def trained(net, eagerly, steps=4):
    """Return a model after some steps."""
    set_random_seed(3)
    inputs = layers.Input((32, 32, 3))
    x = chain(net(inputs), layers.Flatten(), layers.Dense(2))
    model = models.Model(inputs, x)
    model.compile(optimizers.SGD(1e-5), "mse", run_eagerly=eagerly)
    for _ in range(steps):
        model.train_on_batch(X, Y)
    return model


def source(model):
    (replay,) = [r for r in model._plan.steps.train._replays.values() if r is not None]
    return replay.source


@pytest.mark.parametrize("net", NETS)
def test_steps(net):
    model, same = trained(net, False), trained(net, True)
    for got, want in zip(model.get_weights(), same.get_weights(), strict=True):
        assert np.isfinite(got).all()
        np.testing.assert_array_equal(got, want)
    assert "_finished" in source(model)


def test_what_is_joined():
    text = source(trained(shortcut, False))
    assert "_relu" not in text and "_add_blocks" not in text and "+=" not in text
    assert text.count("_normalize_finished") == 3 == text.count("_passed")


def test_rectifiers_of_convolutions():
    """Each gradient is cut off as it is made: by pooling, or by the next convolution."""
    text = source(trained(relus_pooled, False))
    assert text.count("_passed") == 3 and "_masked" not in text
    assert "_relu" not in text and text.count("_max_back_finished") == 2


def test_the_last_of_them_may_come_before_what_is_added():
    """Statistics are kept in between, so the sum can't wait, nor can the shortcut come first."""
    text = source(trained(projected_later, False))
    assert "_stepped" in text or "_conv_finished" in text
