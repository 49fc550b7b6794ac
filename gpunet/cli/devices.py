"""List the devices there are, and say why there is no GPU."""

from gpunet.cli.common import add_json, print_json

__all__ = ["add", "run"]


def add(parser):
    """Give the command its arguments."""
    add_json(parser)


def run(args):
    """Print them."""
    import gpunet
    from gpunet.errors import DeviceError

    names = [str(d) for d in gpunet.devices()]
    current = str(gpunet.current_device())
    reason = None
    try:
        with gpunet.device("gpu"):
            pass
    except DeviceError as error:
        reason = str(error)
    if args.json:
        print_json({"devices": names, "current": current, "no_gpu_because": reason})
        return
    for name in names:
        print(f"{name}{'  (current)' if name == current else ''}")
    if reason:
        print(f"no GPU: {reason}")
