"""``make soak``: every part in full, or those named; one JSON line a figure on standard output.

Ends with 1 where a figure is not what was promised. Load, gateway and simulated Claude share this machine, so what else
it does shows in the timed figures; those that are not timed hold on any machine.
"""

import argparse
import sys
import tempfile
import traceback
from pathlib import Path

import uvloop

from proxy.commands import serve
from tests.soak.figures import Report
from tests.soak.fronts import behind_nginx
from tests.soak.ground import clock, nothing_between
from tests.soak.long_tests import LONG_TESTS, MOST_S, long_test
from tests.soak.parts import PARTS


def tell(line: bytes) -> None:
    """Write a line at once."""
    sys.stdout.buffer.write(line)
    sys.stdout.flush()


async def run(name: str, share: float, *, through_nginx: bool) -> list[str]:
    """Run a part. Returns what it missed, in words; one that breaks off has missed everything."""
    report = Report(name, tell)
    sys.stderr.write(f"{name}: {PARTS[name].full.scaled(share) if name in PARTS else LONG_TESTS[name]}\n")
    began_s = clock.monotonic_s()
    with tempfile.TemporaryDirectory() as folder:
        try:
            if name in PARTS:
                front = behind_nginx(Path(folder, "nginx")) if through_nginx else nothing_between
                await PARTS[name].prepared(share)(Path(folder), report, front)
            else:
                await long_test(LONG_TESTS[name], report)
        except Exception:  # noqa: BLE001 - the parts after it are to run all the same
            sys.stderr.write(traceback.format_exc())
            return [f"{name}: broke off"]
    report.figure("seconds", clock.monotonic_s() - began_s, most=MOST_S, timed=True)
    return [
        f"{name}: {each.figure} is {each.value:g}, not at most {each.most:g}"
        for each in report.missed(timed=True)
        if each.most is not None
    ]


def main() -> int:
    """Read the command line and run. Returns the exit code."""
    names = [*PARTS, *LONG_TESTS]
    parser = argparse.ArgumentParser(prog="make soak PART=")
    parser.add_argument("part", nargs="*", help=f"only these; there are {', '.join(names)}")
    parser.add_argument(
        "--scale", type=float, default=1.0, help="share of the time; parts that are tests have none"
    )
    parser.add_argument(
        "--nginx", action="store_true", help="with nginx before the gateway; parts that are tests have none"
    )
    options = parser.parse_args()
    if unknown := set(options.part) - set(names):
        parser.error(f"there is no part {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    # the clients need as many descriptors as the server
    serve._allow_many_connections()
    missed = [
        line
        for name in options.part or names
        for line in uvloop.run(run(name, options.scale, through_nginx=options.nginx))
    ]
    for line in missed:
        sys.stderr.write(f"{line}\n")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
