"""Where published weights come from."""

from typing import NamedTuple

from gpunet.downloads import get_file

__all__ = ["FILES", "WeightFiles", "fetch"]

_STORAGE = "https://storage.googleapis.com/"
_KERAS = _STORAGE + "tensorflow/keras-applications/"
_KERNELS = "_weights_tf_dim_ordering_tf_kernels"


class WeightFiles(NamedTuple):
    """The two files of one model.

    Attributes:
        url: str, without what follows for one of the files.
        checksums: MD5 of the file with top and of the one without, or Nones.
        no_top: str, what the URL of the file without top has more.
        cached: (name, name without top) in the cache; as in the URL by default.
    """

    url: str
    checksums: tuple = (None, None)
    no_top: str = "_notop"
    cached: tuple | None = None


def _kernels(folder, name, *checksums):
    return WeightFiles(f"{_KERAS}{folder}/{name}{_KERNELS}", checksums)


def _mobilenet(alpha, size):
    return WeightFiles(f"{_KERAS}mobilenet/mobilenet_{alpha}_{size}_tf", no_top="_no_top")


def _mobilenet_v2(alpha, size):
    name = f"mobilenet_v2{_KERNELS}_{alpha}_{size}"
    return WeightFiles(f"{_KERAS}mobilenet_v2/{name}", no_top="_no_top")


def _mobilenet_v3(variant, *checksums):
    name = f"weights_mobilenet_v3_{variant}_float"
    return WeightFiles(f"{_KERAS}mobilenet_v3/{name}", checksums, "_no_top_v2")


def _nasnet(kind, *checksums):
    cached = (f"nasnet_{kind}", f"nasnet_{kind}_no_top")
    return WeightFiles(f"{_KERAS}nasnet/NASNet-{kind}", checksums, "-no-top", cached)


def _efficientnet(name, *checksums):
    return WeightFiles(f"{_STORAGE}keras-applications/{name}", checksums)


# name of a model -> its files
FILES = {
    "vgg16": _kernels(
        "vgg16", "vgg16", "64373286793e3c8b2b4e3219cbf3544b", "6d6bbae143d832006294945121d1f1fc"
    ),
    "vgg19": _kernels(
        "vgg19", "vgg19", "cbe5617147190e668d6c5d5026f83318", "253f8cb515780f3b799900260a226db6"
    ),
    "resnet50": _kernels(
        "resnet", "resnet50", "2cb95161c43110f7111970584f804107", "4d473c1dd8becc155b73f8504c6f6626"
    ),
    "resnet101": _kernels(
        "resnet",
        "resnet101",
        "f1aeb4b969a6efcfb50fad2f0c20cfc5",
        "88cf7a10940856eca736dc7b7e228a21",
    ),
    "resnet152": _kernels(
        "resnet",
        "resnet152",
        "100835be76be38e30d865e96f2aaae62",
        "ee4c566cf9a93f14d82f913c2dc6dd0c",
    ),
    "resnet50v2": _kernels(
        "resnet",
        "resnet50v2",
        "3ef43a0b657b3be2300d5770ece849e0",
        "fac2f116257151a9d068a22e544a4917",
    ),
    "resnet101v2": _kernels(
        "resnet",
        "resnet101v2",
        "6343647c601c52e1368623803854d971",
        "c0ed64b8031c3730f411d2eb4eea35b5",
    ),
    "resnet152v2": _kernels(
        "resnet",
        "resnet152v2",
        "a49b44d1979771252814e80f8ec446f9",
        "ed17cf2e0169df9d443503ef94b23b33",
    ),
    "inception_v3": _kernels(
        "inception_v3",
        "inception_v3",
        "9a0d58056eeedaa3f26cb7ebd46da564",
        "bcbd6486424b2319ff4ef7d526e38f63",
    ),
    "inception_resnet_v2": _kernels(
        "inception_resnet_v2",
        "inception_resnet_v2",
        "e693bd0210a403b3192acc6073ad2e96",
        "d19885ff4a710c122648d3b5c3b684e4",
    ),
    "xception": _kernels(
        "xception",
        "xception",
        "0a58e3b7378bc2990ea3b43d5981f1f6",
        "b0042744bf5b25fce3cb969f33bebb97",
    ),
    "densenet121": _kernels(
        "densenet",
        "densenet121",
        "9d60b8095a5708f2dcce2bca79d332c7",
        "30ee3e1110167f948a6b9946edeeb738",
    ),
    "densenet169": _kernels(
        "densenet",
        "densenet169",
        "d699b8f76981ab1b30698df4c175e90b",
        "b8c4d4c20dd625c148057b9ff1c1176b",
    ),
    "densenet201": _kernels(
        "densenet",
        "densenet201",
        "1ceb130c1ea1b78c3bf6114dbdfd8807",
        "c13680b51ded0fb44dff2d8f86ac8bb1",
    ),
    "nasnet_mobile": _nasnet(
        "mobile", "020fb642bf7360b370c678b08e0adf61", "1ed92395b5b598bdda52abe5c0dbfd63"
    ),
    "nasnet_large": _nasnet(
        "large", "11577c9a518f0070763c2b964a382f17", "d81d89dc07e6e56530c4e77faddd61b5"
    ),
    "efficientnetb0": _efficientnet(
        "efficientnetb0", "902e53a9f72be733fc0bcb005b3ebbac", "50bc09e76180e00e4465e1a485ddc09d"
    ),
    "efficientnetb1": _efficientnet(
        "efficientnetb1", "1d254153d4ab51201f1646940f018540", "74c4e6b3e1f6a1eea24c589628592432"
    ),
    "efficientnetb2": _efficientnet(
        "efficientnetb2", "b15cce36ff4dcbd00b6dd88e7857a6ad", "111f8e2ac8aa800a7a99e3239f7bfb39"
    ),
    "efficientnetb3": _efficientnet(
        "efficientnetb3", "ffd1fdc53d0ce67064dc6a9c7960ede0", "af6d107764bb5b1abb91932881670226"
    ),
    "efficientnetb4": _efficientnet(
        "efficientnetb4", "18c95ad55216b8f92d7e70b3a046e2fc", "ebc24e6d6c33eaebbd558eafbeedf1ba"
    ),
    "efficientnetb5": _efficientnet(
        "efficientnetb5", "ace28f2a6363774853a83a0b21b9421a", "38879255a25d3c92d5e44e04ae6cec6f"
    ),
    "efficientnetb6": _efficientnet(
        "efficientnetb6", "165f6e37dce68623721b423839de8be5", "9ecce42647a20130c1f39a5d4cb75743"
    ),
    "efficientnetb7": _efficientnet(
        "efficientnetb7", "8c03f828fec3ef71311cd463b6759d99", "cbcfe4450ddf6f3ad90b1b398090fe4a"
    ),
    "mobilenet_v3_large_224_0.75": _mobilenet_v3(
        "large_224_0.75", "765b44a33ad4005b3ac83185abf1d0eb", "40af19a13ebea4e2ee0c676887f69a2e"
    ),
    "mobilenet_v3_large_224_1.0": _mobilenet_v3(
        "large_224_1.0", "59e551e166be033d707958cf9e29a6a7", "07fb09a5933dd0c8eaafa16978110389"
    ),
    "mobilenet_v3_large_minimalistic_224_1.0": _mobilenet_v3(
        "large_minimalistic_224_1.0",
        "675e7b876c45c57e9e63e6d90a36599c",
        "ec5221f64a2f6d1ef965a614bdae7973",
    ),
    "mobilenet_v3_small_224_0.75": _mobilenet_v3(
        "small_224_0.75", "cb65d4e5be93758266aa0a7f2c6708b7", "ebdb5cc8e0b497cd13a7c275d475c819"
    ),
    "mobilenet_v3_small_224_1.0": _mobilenet_v3(
        "small_224_1.0", "8768d4c2e7dee89b9d02b2d03d65d862", "d3e8ec802a04aa4fc771ee12a9a9b836"
    ),
    "mobilenet_v3_small_minimalistic_224_1.0": _mobilenet_v3(
        "small_minimalistic_224_1.0",
        "99cd97fb2fcdad2bf028eb838de69e37",
        "cde8136e733e811080d9fcd8a252f7e4",
    ),
    **{
        f"mobilenet_{alpha:.2f}_{size}": _mobilenet(text, size)
        for alpha, text in ((0.25, "2_5"), (0.5, "5_0"), (0.75, "7_5"), (1.0, "1_0"))
        for size in (128, 160, 192, 224)
    },
    **{
        f"mobilenetv2_{alpha:.2f}_{size}": _mobilenet_v2(alpha, size)
        for alpha in (0.35, 0.5, 0.75, 1.0, 1.3, 1.4)
        for size in (96, 128, 160, 192, 224)
    },
}


def fetch(name, include_top):
    """Return the path of a model's weights in the cache, fetched if need be.

    Args:
        name: str, key of `FILES`.
        include_top: bool.
    """
    url, checksums, no_top, cached = FILES[name]
    url += ("" if include_top else no_top) + ".h5"
    file = url.rpartition("/")[2] if cached is None else cached[not include_top] + ".h5"
    return get_file(file, url, file_hash=checksums[not include_top], cache_subdir="models")
