"""`python -m sam`: masks for files and folders without a browser, and published checkpoints."""

from __future__ import annotations

import argparse
import sys

from .folders.command import add_segment
from .formats.convert import add_convert
from .obtaining import add_download, add_models


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m sam", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    add_segment(commands)
    add_convert(commands)
    add_models(commands)
    add_download(commands)
    options = parser.parse_args(arguments)
    try:
        return options.run(options)
    except (ValueError, OSError) as error:
        print(f"python -m sam: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nstopped; what is done is kept, the same command goes on", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
