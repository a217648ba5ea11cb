"""``make fuzz``: each target for a while, in a process of its own."""

import argparse
import subprocess
import sys
from collections.abc import Sequence

from tests.fuzz.targets import TARGETS


def main(arguments: Sequence[str]) -> int:
    """Run the targets that are asked for. Returns how many found something."""
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    parser.add_argument("target", nargs="?", choices=TARGETS, help="all of them without one")
    parser.add_argument("--seconds", type=int, default=120, help="how long each target runs")
    options = parser.parse_args(arguments)
    failed = 0
    for target in [options.target] if options.target else TARGETS:
        command = [sys.executable, "-m", "tests.fuzz.running", target, str(options.seconds)]
        failed += subprocess.run(command, check=False).returncode != 0  # noqa: S603 - a program of ours
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
