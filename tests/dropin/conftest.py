"""The names that scripts import, for a test's own use."""

import importlib

import pytest

from gpunet import dropin

# Scripts in the folder are data of the tests, not tests.
collect_ignore = ["scripts"]


@pytest.fixture(scope="module")
def tf():
    """What ``import tensorflow as tf`` gives a script."""
    dropin.install()
    yield importlib.import_module("tensorflow")
    dropin.uninstall()


@pytest.fixture(scope="module")
def keras(tf):
    """What ``import keras`` gives a script."""
    return importlib.import_module("keras")
