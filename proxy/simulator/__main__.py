"""``python -m proxy.simulator``: the simulated Claude as a program of its own."""

import argparse
import asyncio
import signal
import sys
from collections.abc import Sequence

from proxy.simulator import Pace, Simulator


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m proxy.simulator", description="A simulated Claude on a real socket."
    )
    parser.add_argument(
        "--address", default="127.0.0.1:9000", help="host:port to listen on; port 0 is a free one"
    )
    parser.add_argument("--first-token-delay", type=float, default=0.0, help="seconds before the first byte")
    parser.add_argument("--tokens-per-second", type=float, default=None, help="text deltas a second")
    parser.add_argument("--events", type=int, default=None, help="text deltas in an answer")
    parser.add_argument("--writes", type=int, default=1, help="parts a stream at full speed is sent in")
    parser.add_argument("--stamped", action="store_true", help="let each text delta say when it was sent")
    parser.add_argument("--prefix", default="", help="what every answer begins with")
    parser.add_argument("--record-limit", type=int, default=1000, help="requests kept in the record")
    arguments = parser.parse_args(argv)
    host, colon, port = arguments.address.rpartition(":")
    if not colon or not host or not port.isdigit():
        parser.error(f"--address {arguments.address}: this is no host:port")
    arguments.host, arguments.port = host.strip("[]"), int(port)
    return arguments


async def serve(arguments: argparse.Namespace) -> None:
    """Run until SIGINT or SIGTERM."""
    pace = Pace(
        first_token_delay_s=arguments.first_token_delay,
        tokens_per_s=arguments.tokens_per_second,
        events=arguments.events,
        writes=arguments.writes,
        stamped=arguments.stamped,
    )
    simulator = Simulator(prefix=arguments.prefix, pace=pace, record_limit=arguments.record_limit)
    over = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, over.set)
    await simulator.start(arguments.host, arguments.port)
    sys.stdout.write(f"{simulator.url}\n")
    sys.stdout.flush()
    await over.wait()
    await simulator.stop()


def main(argv: Sequence[str] | None = None) -> None:
    """Read the command line and serve, on uvloop where there is one."""
    arguments = _arguments(argv)
    try:
        import uvloop  # noqa: PLC0415 - not installed everywhere
    except ImportError:
        asyncio.run(serve(arguments))
    else:
        uvloop.run(serve(arguments))


if __name__ == "__main__":
    main()
