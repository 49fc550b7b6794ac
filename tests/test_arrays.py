"""Which module owns an array, and the choice of a device, with a CuPy that is none."""

import os
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import fake_device
import numpy as np
import pytest

from gpunet import arrays, convert_to_tensor, current_device, device, devices, ops, set_device
from gpunet.errors import DeviceError

ROOT = Path(__file__).resolve().parents[1]

# A package that calls itself cupy: arrays that know their GPU, and a current GPU in each thread.
CUPY = """
import os, threading
import numpy as np

if os.environ.get("FAKE") == "broken":
    raise ImportError("libcublas.so.13: cannot open shared object file\\nmore")

_thread = threading.local()


class ndarray:
    def __init__(self, values):
        self.values, self.device = values, cuda.Device()

    def copy(self):
        return ndarray(self.values.copy())

    def __getattr__(self, name):
        return getattr(self.values, name)


class Array(ndarray):
    pass


class _Runtime:
    def getDeviceCount(self):
        if os.environ["FAKE"] == "driver":
            raise RuntimeError("cudaErrorInsufficientDriver: CUDA driver version is insufficient")
        if os.environ["FAKE"] == "none":
            raise RuntimeError("cudaErrorNoDevice: no CUDA-capable device is detected")
        return int(os.environ["FAKE"])

    def getDevice(self):
        return getattr(_thread, "id", 0)

    def memGetInfo(self):
        return 6 << 30, 8 << 30


class _Stream:
    ptr = 7

    def __init__(self, non_blocking):
        assert non_blocking

    def use(self):
        _thread.stream = self


class _Null:
    ptr = 0


class _Pool:
    def malloc(self, size):
        raise AssertionError("nothing is allocated here")


_default = _Pool()


def get_default_memory_pool():
    return _default


class _Device:
    def __init__(self, id=None):
        self.id = getattr(_thread, "id", 0) if id is None else id

    def use(self):
        _thread.id = self.id

    def __enter__(self):
        self.before = getattr(_thread, "id", 0)
        self.use()

    def __exit__(self, *_):
        _thread.id = self.before


class cuda:
    Device, runtime, Stream, MemoryPool = _Device, _Runtime(), _Stream, _Pool
    get_allocator = staticmethod(lambda: _default.malloc)
    set_allocator = staticmethod(lambda allocator: None)
    get_current_stream = staticmethod(lambda: getattr(_thread, "stream", _Null))


def asarray(values, dtype=None):
    values = values.values if isinstance(values, ndarray) else values
    return ndarray(np.array(values, dtype=dtype))


def asnumpy(array):
    return array.values


def zeros(shape, dtype):
    return asarray(np.zeros(shape, dtype))

def empty(shape, dtype):
    return asarray(np.full(shape, 7, dtype))
"""

# What keeps a process from finding the real CuPy.
HIDE = """
import importlib.util
_find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == "cupy" else _find(name, *rest)
"""


@pytest.fixture(scope="session")
def fake_cupy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    (folder / "cupy").mkdir()
    (folder / "cupy" / "__init__.py").write_text(CUPY)
    return folder


def run(code, fake_cupy=None, fake=None, **variables):
    """Run code in a new process and return what it prints.

    Args:
        code: str.
        fake_cupy: folder with the package, or None: then there is no CuPy.
        fake: str, what the package does: a number of GPUs, or what is wrong.
        **variables: of the environment.
    """
    paths = [str(ROOT), *([str(fake_cupy)] if fake_cupy else [])]
    hide = "" if fake_cupy else HIDE
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("GPUNET", "CUDA"))}
    environment |= {"PYTHONPATH": os.pathsep.join(paths), "FAKE": fake or "", **variables}
    done = subprocess.run(
        [sys.executable, "-c", hide + textwrap.dedent(code)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def error_of(wanted, fake_cupy=None, fake=None, **variables):
    code = f"""
        import gpunet
        from gpunet.errors import DeviceError
        for choose in (gpunet.set_device, lambda d: gpunet.device(d).__enter__()):
            try:
                choose({wanted!r})
            except DeviceError as error:
                print(error)
    """
    first, second = run(code, fake_cupy, fake, **variables).splitlines()
    assert first == second
    return first


# -- choices that can't be made -------------------------------------------------------------


def test_no_cupy():
    text = error_of("gpu")
    assert text.startswith("device 'gpu' can't be used: CuPy is not installed; pip install")
    assert "gpunet[cuda13]" in text and "gpunet[cuda12]" in text


def test_broken_cupy(fake_cupy):
    text = error_of("gpu:0", fake_cupy, "broken")
    assert "CuPy is there, but importing it fails (libcublas.so.13: cannot open" in text
    assert "more" not in text and "pip install" in text


def test_no_driver(fake_cupy):
    text = error_of("cuda", fake_cupy, "driver")
    assert "no working NVIDIA driver (cudaErrorInsufficientDriver: " in text


@pytest.mark.parametrize("fake", ["none", "0"])
def test_no_device(fake_cupy, fake):
    wanted = "device 'gpu' can't be used: CuPy and a driver are there, but no CUDA device"
    assert error_of("gpu", fake_cupy, fake) == wanted
    text = error_of("gpu", fake_cupy, fake, CUDA_VISIBLE_DEVICES="-1")
    assert text == wanted + " (CUDA_VISIBLE_DEVICES is '-1')"


def test_no_such_device(fake_cupy):
    text = error_of("gpu:2", fake_cupy, "2")
    assert text == (
        "device 'gpu:2' can't be used: the usable GPUs of this machine are numbered from 0 to 1"
    )


@pytest.mark.parametrize(
    "name", ["tpu", "", "gpu:", "gpu:x", "gpu:-1", "gpu:²", "auto:0", "cpu:1", None, 0]
)
def test_names_that_mean_nothing(name):
    with pytest.raises(DeviceError, match="expected 'auto', 'cpu', 'gpu' or 'gpu:<number>'"):
        set_device(name)
    with pytest.raises(ValueError, match="expected 'auto'"), device(name):
        pass


@pytest.mark.parametrize(
    ("wanted", "why"), [("gpu", "CuPy is not installed"), ("fpga", "expected")]
)
def test_environment_variable_is_named_in_errors(wanted, why):
    code = """
        import gpunet
        for _ in range(2):
            try:
                gpunet.convert_to_tensor(1.0)
            except ValueError as error:
                print(error)
    """
    for line in run(code, GPUNET_DEVICE=wanted).splitlines():
        assert line.startswith(f"environment variable GPUNET_DEVICE='{wanted}': ") and why in line


# -- choices that can -----------------------------------------------------------------------


@pytest.mark.parametrize("wanted", [None, "AUTO", "cpu"])
def test_without_cupy_the_cpu_is_chosen(wanted):
    variables = {} if wanted is None else {"GPUNET_DEVICE": wanted}
    code = "import gpunet; print(gpunet.current_device(), gpunet.convert_to_tensor(1).device)"
    assert run(code, **variables) == "cpu cpu"


@pytest.mark.parametrize("fake", ["broken", "driver", "none"])
def test_auto_falls_back(fake_cupy, fake):
    code = "import gpunet; print(gpunet.current_device(), gpunet.devices())"
    assert run(code, fake_cupy, fake) == "cpu [<Device cpu>]"


def test_cupy_is_imported_late(fake_cupy):
    code = """
        import sys, gpunet
        print("cupy" in sys.modules, end=" ")
        gpunet.convert_to_tensor([1.0]) + 1
        gpunet.ops.swish(gpunet.Variable([1.0]))
        print("cupy" in sys.modules)
    """
    assert run(code, fake_cupy, "2", GPUNET_DEVICE="cpu") == "False False"
    assert run("import sys, gpunet; print('cupy' in sys.modules)", fake_cupy, "2") == "False"


def test_auto_takes_the_first_gpu(fake_cupy):
    code = """
        import gpunet
        print(gpunet.current_device(), gpunet.devices(), gpunet.convert_to_tensor([1.0]).device)
    """
    assert run(code, fake_cupy, "2") == "gpu:0 [<Device gpu:0>, <Device gpu:1>, <Device cpu>] gpu:0"


def test_moves(fake_cupy):
    code = """
        import numpy as np, gpunet
        from gpunet import arrays
        x = gpunet.convert_to_tensor(np.ones(2))
        print(x.device, type(x.array).__name__, type(x.numpy()).__name__)
        with gpunet.device("cpu"):
            y = gpunet.convert_to_tensor(x.array)
            print(y.device, type(y.array).__name__, gpunet.Variable(x).device)
        print(gpunet.Variable(y).device)
        import cupy
        print(arrays.module_of(cupy.Array(np.ones(2))) is cupy, arrays.is_array(cupy.cuda.Device()))
    """
    assert run(code, fake_cupy, "1").splitlines() == [
        "gpu:0 ndarray ndarray",
        "cpu ndarray cpu",
        "gpu:0",
        "True False",
    ]


def test_two_gpus(fake_cupy):
    code = """
        import gpunet
        place = lambda: (str(gpunet.current_device()), gpunet.convert_to_tensor([1.0]).device)
        gpunet.set_device("gpu:1")
        print(place())
        with gpunet.device("gpu:0"):
            print(place())
            lazy = gpunet.Variable(lambda shape, dtype: gpunet.convert_to_tensor([1.0]), (1,))
            with gpunet.device("cpu"):
                print(place())
            print(place())
        print(place())
        made = [s for s in [lazy._device]]
        try:
            lazy.array
        except TypeError:
            pass  # these arrays can't be sliced; where they were to be made is what counts
        print(place(), made)
    """
    g0, g1, cpu = "('gpu:0', 'gpu:0')", "('gpu:1', 'gpu:1')", "('cpu', 'cpu')"
    assert run(code, fake_cupy, "2").splitlines() == [g1, g0, cpu, g0, g1, g1 + " [<Device gpu:0>]"]


def test_threads_use_the_chosen_gpu(fake_cupy):
    """CuPy begins every thread on GPU 0."""
    code = """
        import threading, gpunet
        gpunet.set_device("gpu:1")
        look = lambda: print(gpunet.convert_to_tensor([1.0]).device)
        for _ in range(2):
            thread = threading.Thread(target=look)
            thread.start()
            thread.join()
        with gpunet.device("cpu"):
            thread = threading.Thread(target=look)
            thread.start()
            thread.join()
    """
    assert run(code, fake_cupy, "2").split() == ["gpu:1"] * 3


def test_other_spellings(fake_cupy):
    code = """
        import gpunet
        for name in ("/gpu:1", "/GPU:1", "/device:GPU:1", "device:gpu:1", "cuda:1", " gpu:1 "):
            print(gpunet.set_device(name))
    """
    assert run(code, fake_cupy, "2").split() == ["gpu:1"] * 6


# -- in this process ------------------------------------------------------------------------


@pytest.fixture
def on_cpu():
    with device("cpu"):
        yield


def test_scopes(on_cpu):
    with device("/cpu:0") as outer:
        assert outer == current_device() == "cpu" and hash(outer) == hash("cpu")
        with fake_device.fake_device() as fake:
            assert current_device() is fake and str(fake) == "fake:0"
        assert current_device() is outer
    assert devices()[-1] == "cpu"


def test_an_exception_ends_a_scope(on_cpu):
    before = current_device()
    with pytest.raises(KeyError), fake_device.fake_device():
        raise KeyError
    assert current_device() is before


def test_scopes_belong_to_a_thread(on_cpu):
    seen = []
    with fake_device.fake_device() as fake:
        thread = threading.Thread(target=lambda: seen.append(current_device()))
        thread.start()
        thread.join()
        assert current_device() is fake
    assert seen[0] is not fake


@pytest.mark.parametrize(
    "value", [np.zeros(2), np.float32(1), np.bool_(True), np.zeros(2).view(np.recarray)], ids=repr
)
def test_arrays_of_numpy(value):
    assert arrays.is_array(value) and arrays.module_of(value) is np


@pytest.mark.parametrize("value", [1, 1.0, True, None, [1], "text", convert_to_tensor(1)], ids=repr)
def test_not_arrays(value):
    assert not arrays.is_array(value)
    with pytest.raises(TypeError, match="expected an array, got"):
        arrays.module_of(value)


def test_moves_copy_only_where_they_must(on_cpu):
    x = np.zeros(2)
    assert arrays.to_host(x) is x and arrays.to_device(x) is x
    assert arrays.to_device(x, "float32").dtype == "float32"
    assert arrays.to_host([1, 2]).tolist() == arrays.to_device([1, 2]).tolist() == [1, 2]


def test_host_arrays_join_the_devices(on_cpu):
    with fake_device.fake_device():
        x = convert_to_tensor([1.0, 2.0])
    known = fake_device.module
    with fake_device.fake_device():
        for y in (ops.add(x, np.ones(2, "float32")), ops.add(1.0, x), ops.exp([1.0, 2.0])):
            assert arrays.module_of(y.array) is known
        assert ops.add(x, convert_to_tensor([1, 1])).numpy().tolist() == [2, 3]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_of_a_process_with_a_gpu_says_so(fake_cupy):
    printed = run(
        """
        import os, gpunet
        x = gpunet.convert_to_tensor([1.0])

        def child(use):
            if os.fork() == 0:
                try:
                    print(use(), flush=True)
                except Exception as error:
                    print(type(error).__name__, str(error)[-170:], flush=True)
                os._exit(0)
            os.wait()

        child(lambda: gpunet.convert_to_tensor([1.0]))
        child(lambda: gpunet.device("gpu:0").__enter__())
        child(lambda: (gpunet.set_device("cpu"), gpunet.convert_to_tensor([1.0]).numpy()[0])[1])
        print(gpunet.convert_to_tensor([1.0]).array.device.id)
        """,
        fake_cupy,
        "1",
    ).splitlines()
    assert len(printed) == 4
    for line in printed[:2]:
        assert "DeviceError" in line and "get_context('spawn')" in line
    assert printed[2:] == ["1.0", "0"]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int64"])
@pytest.mark.parametrize("size", [0, 1, 100])
@pytest.mark.parametrize("make", [arrays.flat_zeros, arrays.flat_empty])
def test_flat_arrays_begin_on_a_line(make, dtype, size):
    made = make(np, size, dtype)
    assert made.shape == (size,) and made.dtype == dtype
    assert make is arrays.flat_empty or not made.any()
    assert not size or made.ctypes.data % arrays.LINE == 0
