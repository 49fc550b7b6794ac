"""Run a Keras script with gpunet in the place of keras and tensorflow.

All the rest is as with python itself: sys.argv, __main__, sys.path, tracebacks, exit codes.
"""

import importlib.machinery
import importlib.util
import io
import os
import pkgutil
import sys
import types

__all__ = ["add", "cut", "run"]


class _NotStarted(Exception):
    """There is nothing to run: the text says why, the number is the exit code."""


def add(parser):
    """Give the command its arguments."""
    parser.usage = "gpunet run [-h] (-c CODE | -m MODULE | SCRIPT | -) [ARGUMENT ...]"
    parser.add_argument("-c", dest="code", help="run this text")
    parser.add_argument("-m", dest="module", help="run this module, as python -m does")
    parser.add_argument("script", nargs="?", help="file, folder or zip file; - is standard input")


def cut(argv):
    """Return where the script's own arguments begin."""
    return 2 if argv[:1] in (["-c"], ["-m"]) else 1


def run(args):
    """Run what was asked for; what it raises comes through."""
    from gpunet import dropin

    dropin.install()
    try:
        argv0, spec, code = _find(args)
    except _NotStarted as error:
        print(f"gpunet run: {error.args[0]}", file=sys.stderr)
        return error.args[1]
    except SyntaxError as error:
        sys.excepthook(type(error), error.with_traceback(None), None)
        return 1
    sys.argv = [argv0, *args.rest]
    main = sys.modules["__main__"] = types.ModuleType("__main__")
    main.__builtins__ = sys.modules["builtins"]
    if spec is not None:
        in_file = isinstance(spec.loader, _Script)
        main.__loader__ = spec.loader
        main.__spec__ = None if in_file else spec
        main.__package__ = None if in_file else spec.parent
        main.__file__, main.__cached__ = spec.origin, spec.cached
    sys.excepthook = _without_frames(sys.excepthook)
    _execute(code, vars(main))
    return 0


def _execute(code, names):
    exec(code, names)


def _without_frames(hook):
    """Return an exception hook whose tracebacks begin where the script does."""

    def show(kind, error, trace):
        first = trace
        while first is not None and first.tb_frame.f_code is not _execute.__code__:
            first = first.tb_next
        trace = trace if first is None else first.tb_next
        hook(kind, error.with_traceback(trace), trace)

    return show


class _Script(importlib.machinery.SourceFileLoader):
    """Loads the one file that was named."""


def _find(args):
    """Return (sys.argv[0], spec or None, code), with sys.path[0] set as python sets it.

    Raises:
        _NotStarted: there is nothing of that name.
        SyntaxError: the script isn't Python.
    """
    if args.code is not None:
        _set_path("")
        return "-c", None, compile(args.code, "<string>", "exec")
    if args.module is not None:
        _set_path(os.getcwd())
        spec = _module(args.module)
        return spec.origin, spec, _code(spec)
    if args.script is None:
        raise _NotStarted("expected a script, -m MODULE or -c CODE", 2)
    if args.script == "-":
        _set_path("")
        return "-", None, compile(sys.stdin.read(), "<stdin>", "exec")
    importer = pkgutil.get_importer(args.script)
    if importer is not None:  # a folder or a zip file
        _set_path(os.path.abspath(args.script))
        spec = importer.find_spec("__main__")
        if spec is None:
            raise _NotStarted(f"can't find '__main__' module in {args.script!r}", 1)
        return args.script, spec, _code(spec)
    path = os.path.abspath(args.script)
    try:
        with io.open_code(path) as file:
            source = file.read()
    except OSError as error:
        reason = f"[Errno {error.errno}] {error.strerror}"
        raise _NotStarted(f"can't open file {path!r}: {reason}", 2) from None
    _set_path(os.path.dirname(os.path.realpath(path)))
    loader = _Script("__main__", path)
    spec = importlib.machinery.ModuleSpec("__main__", loader, origin=path)
    return args.script, spec, compile(source, path, "exec")


def _set_path(start):
    if not (sys.flags.isolated or getattr(sys.flags, "safe_path", False)):
        sys.path[0] = start


def _module(name):
    try:
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.submodule_search_locations is not None:
            spec = importlib.util.find_spec(name + ".__main__")
    except ModuleNotFoundError as error:
        if not f"{name}.".startswith(f"{error.name}."):
            raise
        spec = None
    if spec is None or spec.loader is None:
        raise _NotStarted(f"No module named {name}", 1)
    return spec


def _code(spec):
    code = spec.loader.get_code(spec.name)
    if code is None:
        raise _NotStarted(f"No code object available for {spec.name}", 1)
    return code
