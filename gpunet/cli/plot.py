"""Draw a model's graph into a file (.svg, .png, .pdf, .dot)."""

from gpunet.cli.common import add_file, add_json, print_json

__all__ = ["add", "run"]


def add(parser):
    """Give the command its arguments."""
    add_file(parser)
    parser.add_argument("-o", "--output", required=True, metavar="IMAGE", help="the file to write")
    parser.add_argument("--shapes", action="store_true", help="show the shapes of tensors")
    parser.add_argument("--expand-nested", action="store_true", help="show models inside too")
    parser.add_argument("--rankdir", choices=("TB", "LR"), default="TB", help="direction")
    add_json(parser)


def run(args):
    """Draw it."""
    from gpunet.models import load_model
    from gpunet.utils import plot_model

    model = load_model(args.file, compile=False)
    plot_model(
        model,
        to_file=args.output,
        show_shapes=args.shapes,
        rankdir=args.rankdir,
        expand_nested=args.expand_nested,
    )
    if args.json:
        print_json({"output": args.output})
