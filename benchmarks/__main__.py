"""Run the benchmarks.

    python -m benchmarks [--only NAME] [--rounds N] [--peer-python PATH] [--json [FOLDER]]
    python -m benchmarks cpu|gpu|gpu-conv|gpu-rnn [--peers A,B] [--help]

The second trains many models, or runs single layers, beside several libraries: see
`benchmarks.cpu`, `benchmarks.gpu`, `benchmarks.gpu_conv` and `benchmarks.gpu_rnn`.
In the first, the peer is tf_keras, in the environment that ``tests/interop/make_env.py tf`` makes;
without it, gpunet is measured alone.  ``--json`` writes a file ``<name>-<date>.json`` for each
benchmark.
"""

import argparse
import sys
from pathlib import Path

from benchmarks import (
    applications,
    cold_start,
    common,
    cpu,
    footprint,
    gpu,
    gpu_conv,
    gpu_rnn,
    install_size,
    mlp,
    op_overhead,
)

BENCHMARKS = {
    module.NAME: module
    for module in (op_overhead, mlp, applications, cold_start, footprint, install_size)
}


def main():
    large = {"cpu": cpu, "gpu": gpu, "gpu-conv": gpu_conv, "gpu-rnn": gpu_rnn}.get(
        sys.argv[1] if len(sys.argv) > 1 else None
    )
    if large is not None:
        large.main(sys.argv[2:])
        return
    parser = argparse.ArgumentParser(prog="benchmarks", description="Measure gpunet.")
    parser.add_argument("--only", choices=BENCHMARKS, action="append", help="can be repeated")
    parser.add_argument("--rounds", type=int, help="default: what each benchmark thinks enough")
    parser.add_argument("--peer-python", type=Path, default=common.find_peer_python())
    parser.add_argument("--json", type=Path, nargs="?", const=common.RESULTS, metavar="FOLDER")
    args = parser.parse_args()
    if args.rounds is not None and args.rounds < 1:
        parser.error(f"--rounds: expected at least 1, got {args.rounds}")
    if args.peer_python and not args.peer_python.exists():
        parser.error(f"--peer-python: there is no {args.peer_python}")

    for name in args.only or BENCHMARKS:
        module = BENCHMARKS[name]
        report = module.run(args.rounds or module.ROUNDS, args.peer_python)
        report.show()
        if args.json:
            print(f"written: {report.write(args.json)}")


if __name__ == "__main__":
    main()
