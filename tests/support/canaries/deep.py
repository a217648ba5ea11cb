"""What ``CANARIES=1`` adds where tests end a server or a Redis: without it, nothing happens here."""

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from redis.asyncio import Redis
from redis.exceptions import RedisError

from tests.support.canaries.pages import visit

DEEP: Final = os.environ.get("CANARIES") == "1"
LISTENERS: Final[list[Callable[[bytes], None]]] = []
"""Called with what is in a Redis that is about to end."""
_PATIENCE_S: Final = 5.0
_READS: Final[dict[object, tuple[str, tuple[str | int, ...]]]] = {
    b"string": ("GET", ()),
    b"hash": ("HGETALL", ()),
    b"set": ("SMEMBERS", ()),
    b"list": ("LRANGE", (0, -1)),
    b"zset": ("ZRANGE", (0, -1)),
    b"stream": ("XRANGE", ("-", "+")),
}


async def visited(url: str, admin_key: str) -> None:
    """Have all pages of a server told that is about to end."""
    if DEEP and url:
        await visit(url, admin_key)


async def kept_in(host: str, port: int) -> None:
    """Have all told that is in a Redis that is about to end; one that does not answer has nothing to tell."""
    if not DEEP:
        return
    with suppress(RedisError, OSError, TimeoutError):
        async with asyncio.timeout(_PATIENCE_S), Redis(host=host, port=port) as reader:
            async for key in reader.scan_iter():
                word, rest = _READS[await reader.type(key)]
                value: object = await reader.execute_command(word, key, *rest)  # type: ignore[no-untyped-call] # the library's
                for listener in LISTENERS:
                    listener(b"\n".join((key, *_flat(value))))


def _flat(value: object) -> list[bytes]:
    if isinstance(value, bytes):
        return [value]
    if isinstance(value, dict):
        value = [*value, *value.values()]
    return [part for one in value for part in _flat(one)] if isinstance(value, list | set | tuple) else []
