"""Every kernel as it is compiled on a machine with a GPU: by NVRTC, with CuPy's options.

NVRTC takes less than nvcc does: there are no headers of the host.
"""

import builds
import nvrtc
import pytest

from gpunet import optimizers
from gpunet.fused import launch, sweeps

pytestmark = pytest.mark.slow

V100 = launch.Chip(70, 80, 96 << 10)
# (version of CUDA, architecture, a chip that has it); CUDA 13 knows nothing below sm_75
TARGETS = [(13, arch, chip) for arch, chip in builds.CHIPS.items()] + [(12, "sm_70", V100)]
IDS = [f"{arch} by CUDA {version}" for version, arch, _ in TARGETS]
RULES = {
    "sgd": optimizers.SGD(momentum=0.9, nesterov=True),
    "rmsprop": optimizers.RMSprop(centered=True, momentum=0.5),
    "adagrad": optimizers.Adagrad(),
    "adadelta": optimizers.Adadelta(),
    "adam": optimizers.Adam(amsgrad=True),
    "adamax": optimizers.Adamax(),
    "nadam": optimizers.Nadam(),
    "ftrl": optimizers.Ftrl(),
}


@pytest.fixture(params=TARGETS, ids=IDS)
def target(request):
    version = request.param[0]
    if isinstance(nvrtc.library(version), str):
        pytest.skip(nvrtc.library(version))
    return request.param


def check(text, defines, version, arch):
    well, log, size = nvrtc.compiled(version, text, arch, defines)
    assert well, (defines, log)
    assert size > 1000 and "warning" not in log, (defines, log)


@pytest.mark.parametrize("family", sorted(builds.BUILDS))
def test_every_source(family, target):
    version, arch, chip = target
    for defines in builds.BUILDS[family](chip):
        check(*builds.text_of(family, defines), version, arch)


@pytest.mark.parametrize("name", RULES)
def test_optimizers_rules(name, target):
    import numpy as np

    version, arch, _ = target
    rule = RULES[name]
    exact = rule.coefficients(np, 0.1, 3.0)
    given = [c if isinstance(c, (int, float)) else None for c in exact]
    for dtype in launch.REALS:
        text = sweeps._source(
            rule.update, np.dtype(dtype), [None, *given[1:], 1.0], len(rule.slots()), rule.scratch
        )
        check(text, {"REAL": launch.REALS[dtype]}, version, arch)


def test_mistakes_are_found(target):
    version, arch, _ = target
    well, log, _ = nvrtc.compiled(version, "__global__ void f(int* a) { *a = b; }", arch, {})
    assert not well and "undefined" in log
    assert not nvrtc.compiled(version, "#include <vector>\n", arch, {})[0]
