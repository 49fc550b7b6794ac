#!/usr/bin/env bash
# On a machine with an NVIDIA GPU: the tests that need one, then the benchmarks beside what else is
# installed there. Nothing is installed; what is missing is named.
#
#   benchmarks/gpu_check.sh --out DIR [--budget SECONDS] [--tests-only | --benchmarks-only]
#
# PYTHON  the interpreter, which has CuPy, NumPy, h5py, tqdm and pytest (default: python3); PyTorch,
#         JAX and Keras 3 are measured where it has them
#
# DIR gets tests.txt and the benchmarks' JSON; a second run with the same DIR goes on where the
# first one's budget ended. The exit status is that of the tests.
set -uo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
out= budget=540 tests=1 benchmarks=1
while [ $# -gt 0 ]; do
    case $1 in
        --out) out=$2; shift ;;
        --budget) budget=$2; shift ;;
        --tests-only) benchmarks=0 ;;
        --benchmarks-only) tests=0 ;;
        *) echo "usage: $0 --out DIR [--budget SECONDS] [--tests-only | --benchmarks-only]" >&2
           exit 2 ;;
    esac
    shift
done
[ -n "$out" ] || { echo "$0: --out DIR is missing" >&2; exit 2; }
mkdir -p "$out"
started=$SECONDS

"$python" - <<'P' || exit 2
import importlib.metadata as m
import importlib.util as u
import sys

needed = ["numpy", "h5py", "tqdm", "pytest", "cupy"]
missing = [n for n in needed if u.find_spec(n) is None]
for name in [*needed, "scipy", "torch", "jax", "keras"]:
    there = u.find_spec(name) is not None
    version = ""
    for package in (name, "cupy-cuda13x", "cupy-cuda12x") if name == "cupy" else (name,):
        try:
            version = m.version(package)
        except m.PackageNotFoundError:
            pass
    print(f"{name:8}{version or 'there' if there else 'missing'}")
if missing:
    sys.exit(f"needed here and missing: {', '.join(missing)}")
import cupy

sys.path.insert(0, ".")
from gpunet.fused import cudnn

dnn, reason = cudnn._found()
print("cudnn  ", dnn.cudnnGetVersion() if dnn else f"missing: {reason}")
print("device  ", cupy.cuda.runtime.getDeviceProperties(0)["name"].decode())
P

status=0
if [ "$tests" = 1 ]; then
    # With what is left for the benchmarks; tests that a kernel hangs end too.
    timeout "$((budget * 2 / 3))" "$python" -m pytest -m gpu -q --maxfail=40 tests/gpu tests/fused \
        2>&1 | tee "$out/tests.txt" | tail -n 60
    status=${PIPESTATUS[0]}
fi
if [ "$benchmarks" = 1 ]; then
    left=$(((budget - (SECONDS - started)) / 3))
    "$python" -m benchmarks gpu-conv --json "$out" --budget "$left" 2>&1 |
        tee -a "$out/benchmarks.txt"
    left=$((budget - (SECONDS - started)))
    # A third of it for recurrent layers alone, which have predictions beside them.
    "$python" -m benchmarks gpu-rnn --json "$out" --budget "$((left / 3))" 2>&1 |
        tee -a "$out/benchmarks.txt"
    left=$((budget - (SECONDS - started)))
    "$python" -m benchmarks gpu --json "$out" --budget "$left" 2>&1 | tee -a "$out/benchmarks.txt"
fi
exit "$status"
