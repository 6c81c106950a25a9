"""`python -m demo.bench.crowd`: a crowd of a size, for a time."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from demo.bench import report
from demo.bench.crowd.run import Crowd, findings

LOG_SHOWN = 10_000


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; 0, or 1 when an answer was wrong, accepted work was lost or the server did not end in order."""
    parser = argparse.ArgumentParser(prog="python -m demo.bench.crowd", description="A crowd before a real server.")
    parser.add_argument("--visitors", type=int, default=200, help="how many (default 200)")
    parser.add_argument("--seconds", type=float, default=600, help="how long until the server is stopped (default 600)")
    parser.add_argument("--seed", type=int, default=0, help="of everything that chance decides")
    parser.add_argument("options", nargs="*", metavar="-- --OPTION", help="options for python -m demo")
    options = parser.parse_args(arguments)
    crowd = Crowd(options.visitors, options.seconds, options.seed, tuple(options.options))
    outcome = crowd.run()
    print(report.as_markdown(findings(crowd, outcome).tables), flush=True)
    for line in (*outcome.tally.complaints, outcome.log[-LOG_SHOWN:]):
        print(line, file=sys.stderr)
    return 0 if outcome.in_order else 1


if __name__ == "__main__":
    sys.exit(main())
