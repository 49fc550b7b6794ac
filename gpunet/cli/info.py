"""Say what a file holds, and what load_model would refuse, without building the model.

Exit code 0 if nothing is known that would be refused, 1 otherwise.
"""

from gpunet.cli.common import add_file, add_json, print_json

__all__ = ["add", "run"]


def add(parser):
    """Give the command its arguments."""
    add_file(parser)
    add_json(parser)


def run(args):
    """Print it."""
    from gpunet.saving.describe import describe

    found = describe(args.file)
    if args.json:
        print_json(found)
    else:
        _print(found)
    return 1 if found["refused"] else 0


def _print(found):
    print(f"{found['file']}: {found['kind']}, {found['size']:,} bytes")
    if found.get("model"):
        print(f"model      {found['model']['class_name']} {found['model']['name'] or ''}".rstrip())
    written = f"Keras {found['keras_version'] or '(no version: before 2.0)'}"
    ours = f", gpunet {found['gpunet_version']}" if found["gpunet_version"] else ""
    print(f"written by {written}{ours}, backend {found['backend'] or 'unknown'}")
    print(f"parameters {found['parameters']:,} ({found['weight_bytes']:,} bytes)")
    if found.get("optimizer"):
        state = found.get("optimizer_arrays") or "no"
        print(f"optimizer  {found['optimizer'].get('class_name')}, {state} arrays of state")
        print(f"loss       {found['loss']}")
    elif found["kind"] == "model":
        print("not compiled")
    print("layers")
    weights = found["weights"]
    entries = found.get("layers") or [{"class_name": "", "name": name} for name in weights]
    for entry in entries:
        shapes = ", ".join(str(tuple(s)) for s in weights.get(entry["name"], {}).values())
        print(f"  {entry['class_name'] or '':24} {entry['name'] or '':24} {shapes}".rstrip())
    for reason in found["refused"]:
        print(f"refused: {reason}")
