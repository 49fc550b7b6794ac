"""Print the table of a model's layers."""

from gpunet.cli.common import add_file, add_json, print_json

__all__ = ["add", "run"]


def add(parser):
    """Give the command its arguments."""
    add_file(parser)
    parser.add_argument("--line-length", type=int, metavar="N", help="width in characters")
    parser.add_argument("--expand-nested", action="store_true", help="show models inside too")
    add_json(parser)


def run(args):
    """Print it."""
    from gpunet.models import load_model

    model = load_model(args.file, compile=False)
    if not args.json:
        model.summary(line_length=args.line_length, expand_nested=args.expand_nested)
        return
    trained = sum(w.size for w in model.trainable_weights)
    print_json(
        {
            "name": model.name,
            "layers": [
                {
                    "class_name": type(layer).__name__,
                    "name": layer.name,
                    "output_shape": getattr(layer, "output_shape", None),
                    "parameters": layer.count_params(),
                }
                for layer in model.layers
            ],
            "parameters": model.count_params(),
            "trainable_parameters": int(trained),
        }
    )
