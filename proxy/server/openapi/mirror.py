"""What there is to say about the mirror's routes, whose paths begin as an operator chose."""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from proxy.server.openapi.operation import Operation
from proxy.server.openapi.operations import CLIENTS

_TAG: Final = "Mirror"
_OWN: Final = "with a claude.ai session of one's own"


def _mirrored(method: str, path: str) -> Operation:
    told = CLIENTS[method, path]
    return replace(told, summary=f"{told.summary}, {_OWN}", tag=_TAG)


MIRRORED: Final[Mapping[tuple[str, str], Operation]] = MappingProxyType(
    {
        (method, f"{{mirror}}{path}"): _mirrored(method, path)
        for method, path in (
            ("POST", "/v1/chat/completions"),
            ("POST", "/v1/messages"),
            ("GET", "/v1/models"),
        )
    }
)
