"""Cutting a large JSON object of lists into the lists' elements, while its bytes come."""

import re
from typing import Final

from proxy.errors import TooLarge

_STRUCTURE: Final = re.compile(rb'["{}\[\]]')
_REST_OF_STRING: Final = re.compile(rb'[^"\\]*(?:\\.[^"\\]*)*', re.DOTALL)
_QUOTE: Final = ord('"')
_BACKSLASH: Final = ord("\\")
_OPENING: Final = b"{["
_ELEMENT_DEPTH: Final = 3


class Elements:
    """The objects two levels below the top of one JSON value: the elements of its lists.

    What is no JSON at all gives whatever looks like elements; refusing it is left to who reads it whole.
    """

    __slots__ = ("_begun", "_depth", "_escaped", "_in_string", "_max_bytes")

    def __init__(self, max_bytes: int) -> None:
        """`max_bytes` bounds one element."""
        self._max_bytes = max_bytes
        self._begun: bytearray | None = None
        self._depth = 0
        self._in_string = False
        self._escaped = False

    def feed(self, data: bytes) -> list[bytes]:
        """The elements that end in `data`. Raises TooLarge for one that is too large to be looked through."""
        found: list[bytes] = []
        begin = 0
        at = self._skipped_escape(data)
        while (at := self._next(data, at)) < len(data):
            mark = data[at]
            at += 1
            if mark == _QUOTE:
                self._in_string = True
            elif mark in _OPENING:
                self._depth += 1
                if self._depth == _ELEMENT_DEPTH and self._begun is None:
                    self._begun, begin = bytearray(), at - 1
            else:
                self._depth -= 1
                if self._depth < _ELEMENT_DEPTH and self._begun is not None:
                    self._take(data[begin:at])
                    found.append(bytes(self._begun))
                    self._begun = None
        if self._begun is not None:
            self._take(data[begin:])
        return found

    def _skipped_escape(self, data: bytes) -> int:
        if not (self._escaped and data):
            return 0
        self._escaped = False
        return 1

    def _next(self, data: bytes, at: int) -> int:
        """Where the next mark outside of a string is; the length of `data` where none is."""
        if self._in_string:
            rest = _REST_OF_STRING.match(data, at)
            at = rest.end() if rest is not None else at
            if at >= len(data):
                return len(data)
            if data[at] == _BACKSLASH:
                # what it stands before has not come yet
                self._escaped = True
                return len(data)
            self._in_string = False
            at += 1
        mark = _STRUCTURE.search(data, at)
        return len(data) if mark is None else mark.start()

    def _take(self, part: bytes) -> None:
        begun = self._begun
        if begun is not None:
            begun += part
            if len(begun) > self._max_bytes:
                raise TooLarge(self._max_bytes)
