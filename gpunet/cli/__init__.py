"""The commands of ``gpunet``, which is also ``python -m gpunet``.

Each is a module of this folder: the first line of its docstring says what it does,
``add(parser)`` gives it arguments, and ``run(args)`` carries it out and returns the exit code
(None is success).  A command whose last arguments belong to somebody else has ``cut(argv)``, which
returns where those begin; they come as ``args.rest``.
"""

import argparse
import importlib
import sys

from gpunet.errors import GpunetError

__all__ = ["COMMANDS", "main"]

COMMANDS = ("run", "info", "summary", "plot", "predict", "diff", "convert", "devices")


def main(argv=None):
    """Run a command line.

    Args:
        argv: list of str; ``sys.argv[1:]`` by default.

    Returns:
        int, the exit code: 0, 1 after an error that is said on stderr (some commands say more by
        it), 2 for arguments that make no sense.
    """
    argv = sys.argv[1:] if argv is None else list(argv)
    commands = {name: importlib.import_module(f"gpunet.cli.{name}") for name in COMMANDS}
    rest = None
    if argv and hasattr(commands.get(argv[0]), "cut"):
        end = 1 + commands[argv[0]].cut(argv[1:])
        argv, rest = argv[:end], argv[end:]
    args = _parser(commands).parse_args(argv)
    args.rest = rest
    if rest is not None:  # its errors are those of somebody else's program
        return commands[args.command].run(args) or 0
    try:
        return commands[args.command].run(args) or 0
    except (GpunetError, OSError, ValueError, TypeError) as error:
        print(f"gpunet {args.command}: {error}", file=sys.stderr)
        return 1


def _parser(commands):
    import gpunet

    parser = argparse.ArgumentParser(prog="gpunet", description=gpunet.__doc__, allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"gpunet {gpunet.__version__}")
    table = parser.add_subparsers(dest="command", metavar="command", required=True)
    for name, module in commands.items():
        what, _, more = module.__doc__.partition("\n")
        command = table.add_parser(
            name,
            help=what.rstrip("."),
            description=what,
            epilog=more.strip(),
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        module.add(command)
    return parser
