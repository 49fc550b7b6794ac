"""Write a model file anew: an old .h5 as today's .h5, or its weights alone.

An OUT that ends in .weights.h5 gets the weights alone, as with --weights-only.
"""

from gpunet.cli.common import add_file, add_json, print_json

__all__ = ["add", "run"]


def add(parser):
    """Give the command its arguments."""
    add_file(parser, "in")
    add_file(parser, "out", "the file to write")
    parser.add_argument("--weights-only", action="store_true", help="leave the architecture out")
    parser.add_argument("--no-compile", action="store_true", help="leave optimizer and loss out")
    parser.add_argument("--no-overwrite", action="store_true", help="refuse to replace a file")
    add_json(parser)


def run(args):
    """Convert."""
    from gpunet.models import load_model

    source, target = vars(args)["in"], args.out
    model = load_model(source, compile=not args.no_compile)
    overwrite = not args.no_overwrite
    if args.weights_only or target.endswith(".weights.h5"):
        model.save_weights(target, overwrite=overwrite)
        kind = "weights"
    else:
        model.save(target, overwrite=overwrite)
        kind = "model"
    if args.json:
        print_json({"output": target, "kind": kind, "parameters": model.count_params()})
    else:
        print(f"{target}: {kind}, {model.count_params():,} parameters")
