"""What there is to say about each route of the administrator."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from proxy.model.tally import Dimension
from proxy.pool import MemberView
from proxy.server.clients import NewKey
from proxy.server.openapi import shapes
from proxy.server.openapi.operation import (
    JSON,
    ORDER_KEY,
    WORD,
    Operation,
    Parameter,
    Raw,
    one_of,
    whole,
)
from proxy.server.openapi.statuses import ORDER, STORED
from proxy.telemetry.traces import KEPT, TraceView

_POOL: Final = "Pool"
_KEYS: Final = "Client keys"
_BOOKS: Final = "Books"
_TIME: Final = "A day or a time, such as 2026-11-21 or 2026-11-21T08:00Z; hours are whole."


def _order(summary: str, tag: str, answer: type, *statuses: int) -> Operation:
    """An order, which is carried out once and written down."""
    return Operation(
        summary=summary,
        tag=tag,
        answer={JSON: answer},
        statuses=ORDER | set(statuses),
        parameters=(ORDER_KEY,),
    )


ADMINISTRATION: Final[Mapping[tuple[str, str], Operation]] = MappingProxyType(
    {
        ("GET", "/metrics"): Operation(
            summary="What was counted, for Prometheus", tag=_BOOKS, answer={"text/plain": Raw}
        ),
        ("GET", "/admin/pool"): Operation(
            summary="Every credential and its state", tag=_POOL, answer={JSON: shapes.PoolState}
        ),
        ("GET", "/admin/pool/explain"): Operation(
            summary="Who would be asked now, and why not the others",
            tag=_POOL,
            answer={JSON: shapes.Explanation},
            parameters=(
                Parameter("model", "The default one unless given.", WORD),
                Parameter("client", "Name of the client key that would ask.", WORD),
            ),
        ),
        ("POST", "/admin/pool/reload"): _order("Read the credentials again", _POOL, shapes.ReloadedPool),
        ("POST", "/admin/pool/{alias}/enable"): _order(
            "Bring a disabled credential back", _POOL, MemberView, 404
        ),
        ("POST", "/admin/pool/{alias}/disable"): _order(
            "Put a credential out of use", _POOL, MemberView, 404
        ),
        ("POST", "/admin/pool/{alias}/reset"): _order(
            "Forget what keeps a credential out of use", _POOL, MemberView, 404
        ),
        ("GET", "/admin/keys"): Operation(
            summary="Every client key there is or was, without the keys themselves",
            tag=_KEYS,
            answer={JSON: shapes.ClientKeys},
            statuses=STORED,
        ),
        ("POST", "/admin/keys"): Operation(
            summary="Make a client key",
            tag=_KEYS,
            body={JSON: NewKey},
            answer={JSON: shapes.IssuedKey},
            success=201,
            statuses=ORDER,
            parameters=(ORDER_KEY,),
        ),
        ("DELETE", "/admin/keys/{name}"): _order("Revoke a client key", _KEYS, shapes.RevokedKey, 404),
        ("GET", "/admin/audit"): Operation(
            summary="What was ordered, newest first",
            tag=_BOOKS,
            answer={JSON: shapes.Orders},
            statuses=STORED,
            parameters=(
                Parameter("limit", "How many, 100 unless given.", whole(1000)),
                Parameter("before", "Only those before this id.", whole(10**15)),
            ),
        ),
        ("GET", "/admin/requests"): Operation(
            summary="The last requests, newest first",
            tag=_BOOKS,
            answer={JSON: shapes.LastRequests},
            parameters=(
                Parameter("limit", "How many, 20 unless given.", whole(KEPT)),
                Parameter("credential", "Only those that asked this one.", WORD),
                Parameter(
                    "status",
                    "Only those answered so: a status, or 4xx and the like.",
                    {"type": "string", "pattern": "^[1-5]([0-9]{2}|xx)$"},
                ),
            ),
        ),
        ("GET", "/admin/requests/{id}"): Operation(
            summary="One of the last requests",
            tag=_BOOKS,
            answer={JSON: TraceView},
            statuses=frozenset({404}),
        ),
        ("GET", "/admin/usage"): Operation(
            summary="Tokens and cost, summed up",
            tag=_BOOKS,
            answer={JSON: shapes.UsageSums, "text/csv": Raw},
            statuses=STORED,
            parameters=(
                Parameter("from", _TIME),
                Parameter("to", _TIME),
                Parameter("by", "What is summed up apart; by client unless given.", one_of(*Dimension)),
                Parameter("format", "As the Accept header says unless given.", one_of("json", "csv")),
            ),
        ),
    }
)
"""By method and path."""
