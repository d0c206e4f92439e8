"""`anabranch` and `python -m anabranch`: the command line."""

from __future__ import annotations

import sys

from .cli.app import run


def main() -> int:
    """Run the command that the arguments name; what comes back is the exit status."""
    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
