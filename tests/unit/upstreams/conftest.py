"""The HTTP library's calls answered from a table, for the mapping of whole answers alone."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from aioresponses import aioresponses


class _Response(aiohttp.ClientResponse):
    """The library's own, with the one argument that aioresponses does not know of."""

    def __init__(self, *args: Any, **options: Any) -> None:
        options.setdefault("stream_writer", SimpleNamespace(output_size=0))
        super().__init__(*args, **options)


@pytest.fixture
def answered(monkeypatch: pytest.MonkeyPatch) -> Iterator[aioresponses]:
    """Answers for the calls of a test; a call without one fails.

    It gives each body in one piece, so it is of no use for streams and cancellation.
    """
    monkeypatch.setattr("aioresponses.core.ClientResponse", _Response)
    with aioresponses() as found:
        yield found
