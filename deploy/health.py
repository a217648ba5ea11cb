"""The container's health check: exit code 0 while the server beside it says that it is alive."""

import sys
from http.client import HTTPConnection, HTTPException
from os import environ
from pathlib import Path
from typing import Final

from proxy.settings import ConfigurationError, load_settings

_ANSWERS_WITHIN_S: Final = 2.0
_EVERYWHERE: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - to ask there, nothing is bound


def main() -> int:
    """Ask ``/live`` at the address the environment gives the server. Returns the exit code."""
    try:
        address = load_settings({}, environ, Path.cwd()).address
        connection = HTTPConnection(
            _EVERYWHERE.get(address.host, address.host), address.port, timeout=_ANSWERS_WITHIN_S
        )
        connection.request("GET", "/live")
        return 0 if connection.getresponse().status == 200 else 1
    except (ConfigurationError, HTTPException, OSError) as error:
        print(type(error).__name__, file=sys.stderr)  # noqa: T201 - what the container's log of checks shows
        return 1


if __name__ == "__main__":
    sys.exit(main())
