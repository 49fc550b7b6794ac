"""The benchmarks' own machinery: what is left out is named, and what was measured is kept."""

import dataclasses
import json
import os
import subprocess
import sys
import types
from pathlib import Path

import pytest

import gpunet

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def gpu(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    from benchmarks import gpu

    monkeypatch.setattr(gpu, "_there", lambda engines: ({n: engines[n] for n in ("gpunet",)}, []))
    monkeypatch.setattr(gpu, "_clocks", lambda: {"name": "NVIDIA H200"})
    monkeypatch.setattr(gpu, "_run_part", part)
    return gpu


def part(name, cold, args):
    return {
        "optimizer": {"rules": {"Adam": {"part_of_copy": 0.85}}},
        "first_step": {"captured_s": 21.0 if cold else 2.0},
        "graphs": {"captured": 3, "launched": 90},
    }[name]


def sample(engine, how, workload, seconds):
    return {"engine": engine, "version": "1", "fit_ms": 2.0, "memory": 1e6}


def test_gpu_benchmark_goes_on_where_it_ended(gpu, monkeypatch, tmp_path):
    asked = []

    def run(engine, how, workload, seconds):
        asked.append(workload)
        if len(asked) == 2:
            raise KeyboardInterrupt
        return sample(engine, how, workload, seconds)

    arguments = ["--workloads", "mlp,mnist_cnn", "--rounds", "1", "--json", str(tmp_path)]
    monkeypatch.setattr(gpu, "_run", run)
    with pytest.raises(KeyboardInterrupt):
        gpu.main(arguments)
    gpu.main(arguments)
    assert asked == ["mlp", "mnist_cnn", "mnist_cnn"]
    (written,) = tmp_path.glob("h200-*.json")
    result = json.loads(written.read_text(encoding="utf8"))
    assert set(result["samples"]["processes"]) == {
        "mlp/gpunet/0", "mnist_cnn/gpunet/0", "part graphs/warm/0", "part optimizer/warm/0",
        "part first_step/cold/0", "part first_step/warm/0",
    }  # fmt: skip


def test_gpu_benchmark_keeps_to_its_budget(gpu, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(gpu, "_run", sample)
    gpu.main(["--workloads", "mlp", "--json", str(tmp_path), "--budget", "1"])
    assert "the budget ended before mlp/gpunet/0" in capsys.readouterr().out


def test_gpu_benchmark_says_which_targets_were_reached(gpu, monkeypatch, tmp_path, capsys):
    both = ("gpunet", "torch-graphs")
    monkeypatch.setattr(
        gpu, "_there", lambda engines: ({n: {**gpu.OWN, **gpu.PEERS}[n] for n in both}, [])
    )

    def run(engine, how, workload, seconds):
        return {**sample(engine, how, workload, seconds), "fit_ms": 0.05 if engine == "gpunet"
                else 0.06}  # fmt: skip

    monkeypatch.setattr(gpu, "_run", run)
    gpu.main(["--workloads", "mlp_wide", "--json", str(tmp_path)])
    shown = capsys.readouterr().out
    reached = {
        "us a step": "50.0", "with graphs": "1.20", "Adam over 10 M": "0.85", "cold cache": "21.00",
    }  # fmt: skip
    for words, value in reached.items():
        line = next(line for line in shown.splitlines() if words in line)
        assert value in line
        assert line.split()[-1] == ("no" if words in ("with graphs", "cold cache") else "yes")


@pytest.mark.parametrize("name", ["optimizer", "first_step", "graphs"])
def test_gpu_parts_can_be_tried_on_a_cpu(name):
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu_parts", name, "--size", "4000", "--seconds", "0"],
        cwd=ROOT, env={**os.environ, "GPUNET_DEVICE": "cpu"}, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    found = json.loads(done.stdout)
    assert found["device"] == "cpu"
    if name == "optimizer":
        assert set(found["rules"]) == {"SGD", "SGD momentum", "Adam"}
    elif name == "first_step":
        assert found["import_s"] < found["first_step_s"] < found["captured_s"]
    else:
        assert found["captured"] == found["launched"] == 0 and found["graphs_us"] > 0


def test_gpu_check_names_what_is_missing(tmp_path):
    if subprocess.run([sys.executable, "-c", "import cupy"], capture_output=True).returncode == 0:
        pytest.skip("CuPy is here, so nothing is missing")
    done = subprocess.run(
        ["bash", "benchmarks/gpu_check.sh", "--out", str(tmp_path)],
        cwd=ROOT, env={**os.environ, "PYTHON": sys.executable}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 2
    assert "needed here and missing: " in done.stderr and "cupy" in done.stderr
    assert not list(tmp_path.iterdir())


def _sample(**values):
    return {"version": "1", "others": 0.0, **values}


def test_cpu_table_goes_without_a_peer_that_failed(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    from benchmarks import cpu

    samples = {
        "mlp": {
            "gpunet": [_sample(fit_ms=2.0), _sample(fit_ms=4.0)],
            "a": [_sample(fit_ms=6.0), {"failed": "python -m x failed:\nout of memory"}],
            "b": [_sample(fit_ms=8.0), _sample(fit_ms=8.0)],
        },
        "cnn": {
            "gpunet": [_sample(fit_ms=1.0)],
            "a": [{"failed": "no such layer"}],
            "b": [_sample(fit_ms=0.5)],
        },
    }
    report = cpu.table("fit_ms", "fit", ["gpunet", "a", "b"], samples)
    assert report.columns == ("", "gpunet", "a", "b", "a / gpunet", "b / gpunet")
    assert report.rows == [
        ("mlp", "3", "6", "8", "3.00", "3.00"),
        ("cnn", "1", "-", "0.5", "-", "0.50"),
    ]
    assert report.notes == ["geometric means of the ratios: 3.00 a, 1.22 b, 1.22 the best peer"]
    assert cpu._failures(samples) == [
        "cnn didn't run with a: no such layer",
        "mlp didn't run with a: out of memory",
    ]


def test_child_that_fails_says_how(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    from benchmarks.common import ChildFailed, child

    with pytest.raises(ChildFailed, match=r"-c .* failed:\n(.*\n)*ValueError: no"):
        child(sys.executable, "-c", "raise ValueError('no')")


# -- single convolutions ----------------------------------------------------------------------


@pytest.fixture
def conv(gpu):
    from benchmarks import gpu_conv

    return gpu_conv


def test_convolutions_are_predicted_without_a_gpu(conv, capsys):
    conv.main(["--predict", "--layers", "64 to 64, 32 x 32|depthwise, 144, 56 x 56"])
    out = capsys.readouterr().out
    assert "aim 1.5x torch; aim 1.0x torch-compile" in out and "depthwise" in out


def test_no_prediction_is_below_the_floor(conv):
    for layer in conv.LAYERS.values():
        least = conv.floor(layer)["seconds"]
        assert least < sum(conv.predicted(layer).values()) < 20 * least


def test_floor_counts_products_and_arrays(conv):
    layer = conv.LAYERS["64 to 64, 32 x 32"]
    least = conv.floor(layer)
    assert least["flops"] == 3 * 2 * (64 * 32 * 32) * 64 * (3 * 3 * 64)
    image, kernel = 64 * 32 * 32 * 64, 3 * 3 * 64 * 64
    assert least["bytes"] == 4 * (6 * image + 3 * kernel)


def test_convolutions_go_on_where_they_ended(conv, monkeypatch, tmp_path):
    asked = []

    def run(layer, how, args):
        engine = how[0]
        asked.append((layer, engine))
        if len(asked) == 2:
            raise KeyboardInterrupt
        return {"engine": engine, "version": "1", "eager": 3e-4, "graph": 1e-4}

    both = {n: (n, n, None) for n in ("gpunet", "torch")}
    monkeypatch.setattr(conv.gpu, "_there", lambda engines: (both, ["a note"]))
    monkeypatch.setattr(conv, "_run", run)
    name = "64 to 64, 32 x 32"
    arguments = ["--layers", name, "--json", str(tmp_path)]
    with pytest.raises(KeyboardInterrupt):
        conv.main(arguments)
    conv.main(arguments)
    assert asked == [(name, "gpunet"), (name, "torch"), (name, "torch")]
    (written,) = tmp_path.glob("gpu-conv-2*.json")
    result = json.loads(written.read_text(encoding="utf8"))
    figures = result["samples"]["figures"][name]
    assert figures["measured"] == {"gpunet": 1e-4, "torch": 1e-4} and figures["predicted"]
    assert result["summary"][0]["aims"].startswith("1.00x torch (aim 1.5x)")
    assert "a note" in result["notes"]


def test_cudnn_is_a_yardstick_where_it_is_installed(conv, monkeypatch, tmp_path):
    from gpunet.fused import cudnn, libraries

    found = {"gpunet": ("gpunet", "cupy", None), "cudnn": ("cudnn", "cupy", None)}
    asked = []
    monkeypatch.setattr(conv.gpu, "_there", lambda engines: (dict(found), []))
    monkeypatch.setattr(libraries, "major", lambda: 13)
    monkeypatch.setattr(
        conv, "child", lambda *a, variables: asked.append((a, variables)) or {
            "engine": a[4], "version": "1", "eager": 3e-4 if a[4] == "cudnn" else 4e-4,
        }
    )  # fmt: skip
    name = "VGG, 64 to 64, 224 x 224"
    monkeypatch.setattr(cudnn, "_found", lambda: (None, "it isn't there"))
    arguments = ["--layers", name, "--json", str(tmp_path)]
    conv.main(arguments)
    monkeypatch.setattr(cudnn, "_found", lambda: (object(), ""))
    conv.main(arguments)
    assert [a[4] for a, _ in asked] == ["gpunet", "cudnn"]  # the second run goes on
    assert [v["GPUNET_AUTOTUNE"] for _, v in asked] == [None, "1"]
    (written,) = tmp_path.glob("gpu-conv-2*.json")
    result = json.loads(written.read_text(encoding="utf8"))
    assert result["summary"][0]["cudnn"] == "300"
    assert result["summary"][0]["aims"].startswith("0.75x cudnn (aim 0.65x)")


def test_without_cudnn_its_column_is_missing_and_named(conv, monkeypatch):
    from gpunet.fused import cudnn, libraries

    monkeypatch.setattr(libraries, "major", lambda: 12)
    monkeypatch.setattr(cudnn, "_found", lambda: (None, "it isn't there"))
    engines = {"cudnn": ("cudnn", "cupy", None), "torch": ("torch", "torch", None)}
    (note,) = conv._without_cudnn(engines)
    assert list(engines) == ["torch"] and 'pip install "gpunet[cudnn12]"' in note


@pytest.mark.parametrize("name", ["depthwise", "first"])
def test_convolution_worker_can_be_tried_on_a_cpu(name, conv, monkeypatch, capsys):
    from benchmarks import conv_worker

    layer = conv.LAYERS["depthwise, 144, 56 x 56" if name == "depthwise" else
                        "first, 3 to 64, 32 x 32"]  # fmt: skip
    small = dataclasses.replace(layer, batch=2, size=6)
    monkeypatch.setitem(conv_worker.LAYERS, "small", small)
    monkeypatch.setattr(sys, "argv", ["x", "--engine", "gpunet", "--layer", "small",
                                      "--seconds", "0", "--device", "cpu"])  # fmt: skip
    monkeypatch.setattr(gpunet.config, "_cudnn", None)
    conv_worker.main()
    result = json.loads(capsys.readouterr().out)
    assert result["eager"] > 0 and "graph" not in result


def test_the_yardstick_is_cudnn_and_nothing_else(conv, monkeypatch):
    from benchmarks import conv_worker
    from gpunet.fused.cudnn_plans import Plan

    def step(*ways):
        for way in ways:
            Plan.run(types.SimpleNamespace(c=types.SimpleNamespace(way=way)))

    monkeypatch.setattr(Plan, "run", lambda self: None)
    run = Plan.run
    conv_worker._check_who_works(lambda: step("forward", "kernel_gradient"), 2)
    for ways, words in (((), "nothing"), (("forward",) * 3, "forward")):
        with pytest.raises(RuntimeError, match=f"cuDNN has plans for {words} alone"):
            conv_worker._check_who_works(lambda ways=ways: step(*ways), 3)
    assert Plan.run is run


# -- recurrent layers alone -----------------------------------------------------------------


def test_recurrent_benchmark_puts_predictions_beside_what_was_measured(gpu, monkeypatch, tmp_path):
    from benchmarks import gpu_rnn as rnn

    def run(engine, backend, case, args):
        return {"error": "no"} if engine == "torch" else {"engine": engine, "step_ms": 0.5}

    monkeypatch.setattr(gpu, "_there", lambda engines: (dict(list(engines.items())[:3]), []))
    monkeypatch.setattr(rnn, "_run", run)
    rnn.main(["--cases", "lstm128-b32,lstm512-b32", "--json", str(tmp_path), "--rounds", "1"])
    (written,) = tmp_path.glob("gpu-rnn-h200-*.json")
    result = json.loads(written.read_text(encoding="utf8"))
    first, second = result["summary"]
    assert (first["gpunet"], first["torch"], first["keras-torch / gpunet"]) == ("0.500", "", "1.00")
    assert first["target"] == "0.45" and second["target"] == "1.0"
    assert float(first["predicted"]) > 0
    assert "failed: lstm128-b32/torch/1" in result["notes"]
    assert result["samples"]["predictions"]["lstm128-b32"]["parts"]["meeting"] == 0.7
    with pytest.raises(SystemExit):
        rnn.main(["--cases", "lstm", "--json", str(tmp_path)])


def test_the_floor_of_a_recurrent_layer(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    from benchmarks.rnn_floor import CASES, Costs, predicted, table

    case = CASES["lstm128-b32"]
    p = predicted(case)
    assert p["flops"] == 2 * 32 * 128 * 512 and p["bytes"] == 32 * 512 * 2 * 4
    assert p["step_ms"] > (p["forward_us"] + p["backward_us"]) * 100 / 1e3
    slow = predicted(case, costs=Costs(cluster=1.7))
    assert slow["forward_us"] - p["forward_us"] == pytest.approx(1.0)
    longer = predicted(dataclasses.replace(case, steps=200))
    assert longer["step_ms"] > 1.8 * p["step_ms"]
    assert predicted(case, precision="strict")["step_ms"] > p["step_ms"]
    written = (ROOT / "kernels" / "README.md").read_text(encoding="utf8")
    assert all(line in written for line in table())


def test_recurrent_worker_measures_each_case_of_ours(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    from benchmarks import rnn_worker
    from benchmarks.rnn_floor import CASES

    for name in ("lstm128-b32-mask", "gru128-b32", "bilstm128-b32", "lstm256-b32-fp16"):
        case = dataclasses.replace(CASES[name], units=3, batch=2, steps=4, features=2)
        step, wait = rnn_worker.gpunet_step(case, "cpu")
        assert len(step()) == 1 + 3 * case.directions  # gradients of the inputs and of all weights
        wait()
    rounds, each = rnn_worker.measured(lambda: None, lambda: None, 0.0)
    assert len(rounds) == 1 and each >= 1
