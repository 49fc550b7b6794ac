"""Run a model on data from a file and write what it gives.

Inputs are .npy, .npz (arrays named like the model's inputs, or in their order), .csv (numbers, with
or without titles) or an image, which is brought to the size of the input. With several inputs,
--input is repeated. Outputs are .npy, .npz or .csv.
"""

from gpunet.cli.common import add_file, add_json, print_json, read_arrays, write_arrays

__all__ = ["add", "run"]


def add(parser):
    """Give the command its arguments."""
    add_file(parser)
    parser.add_argument("--input", required=True, action="append", metavar="DATA", help="see below")
    parser.add_argument("--output", required=True, metavar="RESULT", help="the file to write")
    parser.add_argument("--batch-size", type=int, default=32, metavar="N")
    parser.add_argument(
        "--scale", type=float, metavar="X", help="multiply inputs by this, as 1/255"
    )
    add_json(parser)


def run(args):
    """Predict and write."""
    import numpy as np

    from gpunet.models import load_model

    model = load_model(args.file, compile=False)
    given = [pair for path in args.input for pair in read_arrays(path, model)]
    names = [name for name, _ in given]
    arrays = [a if args.scale is None else a * np.float32(args.scale) for _, a in given]
    if set(names) >= set(model.input_names) and len(set(names)) == len(names):
        arrays = [arrays[names.index(name)] for name in model.input_names]
    if len(arrays) != len(model.inputs):
        raise ValueError(
            f"model {model.name!r} has {len(model.inputs)} inputs {model.input_names}, "
            f"the files hold {len(arrays)} arrays"
        )
    outputs = model.predict(
        arrays[0] if len(arrays) == 1 else arrays, batch_size=args.batch_size, verbose=0
    )
    outputs = list(outputs) if isinstance(outputs, (list, tuple)) else [outputs]
    write_arrays(args.output, model.output_names, outputs)
    shapes = dict(zip(model.output_names, [list(y.shape) for y in outputs]))
    if args.json:
        print_json({"output": args.output, "shapes": shapes})
    else:
        print(f"{args.output}: {', '.join(f'{n} {tuple(s)}' for n, s in shapes.items())}")
