"""Where the data sets come from."""

from gpunet.downloads import get_file

__all__ = ["SOURCES", "fetch"]

_KERAS = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/"
_TORONTO = "https://www.cs.toronto.edu/~kriz/"

# name of the file -> (URL, checksum)
SOURCES = {
    "boston_housing.npz": (
        _KERAS + "boston_housing.npz",
        "f553886a1f8d56431e820c5b82552d9d95cfcb96d1e678153f8839538947dff5",
    ),
    "cifar-10-batches-py": (
        _TORONTO + "cifar-10-python.tar.gz",
        "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
    ),
    "cifar-100-python": (
        _TORONTO + "cifar-100-python.tar.gz",
        "85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7",
    ),
    "train-labels-idx1-ubyte.gz": (_KERAS + "train-labels-idx1-ubyte.gz", None),
    "train-images-idx3-ubyte.gz": (_KERAS + "train-images-idx3-ubyte.gz", None),
    "t10k-labels-idx1-ubyte.gz": (_KERAS + "t10k-labels-idx1-ubyte.gz", None),
    "t10k-images-idx3-ubyte.gz": (_KERAS + "t10k-images-idx3-ubyte.gz", None),
    "imdb.npz": (
        _KERAS + "imdb.npz",
        "69664113be75683a8fe16e3ed0ab59fda8886cb3cd7ada244f7d9544e4676b9f",
    ),
    "imdb_word_index.json": (
        _KERAS + "imdb_word_index.json",
        "bfafd718b763782e994055a2d397834f",
    ),
    "mnist.npz": (
        _KERAS + "mnist.npz",
        "731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1",
    ),
    "reuters.npz": (
        _KERAS + "reuters.npz",
        "d6586e694ee56d7a4e65172e12b3e987c03096cb01eab99753921ef915959916",
    ),
    "reuters_word_index.json": (
        _KERAS + "reuters_word_index.json",
        "4d44cc38712099c9e383dc6e5f11a921",
    ),
}


def fetch(name, path=None, **options):
    """Return the path of a data set's file in the cache, fetched if need be.

    Args:
        name: str, key of `SOURCES`.
        path: str, another name for the file in the cache.
        **options: for `get_file`.
    """
    url, checksum = SOURCES[name]
    return get_file(path or name, url, file_hash=checksum, **options)
