"""``python -m gpunet``: see `gpunet.cli`."""

import sys

from gpunet.cli import main

__all__ = []

if __name__ == "__main__":
    sys.exit(main())
