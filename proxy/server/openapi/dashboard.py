"""What there is to say about each route of the dashboard, whose page is in the place of a client, and of its login."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from proxy.server.dashboard.pages import Presented
from proxy.server.openapi import shapes
from proxy.server.openapi.operation import EVENTS, HTML, JSON, Operation, Raw
from proxy.server.openapi.statuses import BODY, STORED

_TAG: Final = "Dashboard"
_CACHED: Final = (304,)
_FILES: Final[Mapping[str, type]] = MappingProxyType(
    dict.fromkeys((HTML, "text/css", "text/javascript", "image/svg+xml", "text/plain"), Raw)
)

DASHBOARD: Final[Mapping[tuple[str, str], Operation]] = MappingProxyType(
    {
        ("GET", "/dashboard"): Operation(
            summary="The page, and without a login the way to one",
            tag=_TAG,
            answer={HTML: Raw},
            empty=(303, *_CACHED),
        ),
        ("GET", "/dashboard/login"): Operation(
            summary="The page to log in at", tag=_TAG, answer={HTML: Raw}, empty=_CACHED
        ),
        ("POST", "/dashboard/login"): Operation(
            summary="Log in: a cookie for the admin key, for pages of this server alone",
            tag=_TAG,
            body={JSON: Presented},
            answer={JSON: shapes.NextPage},
            statuses=BODY | {401, 403, 429},
        ),
        ("POST", "/dashboard/logout"): Operation(
            summary="Log out", tag=_TAG, answer={JSON: shapes.NextPage}, statuses=frozenset({403})
        ),
        ("GET", "/dashboard/static/{file}"): Operation(
            summary="A file of the pages",
            tag=_TAG,
            answer=_FILES,
            statuses=frozenset({404}),
            empty=_CACHED,
        ),
        ("GET", "/dashboard/config"): Operation(
            summary="What the page can show, and the token of its orders",
            tag=_TAG,
            answer={JSON: shapes.PageConfiguration},
        ),
        ("GET", "/dashboard/history"): Operation(
            summary="How the last hour went", tag=_TAG, answer={JSON: shapes.LastHour}
        ),
        ("GET", "/dashboard/events"): Operation(
            summary="How everything is, once a second", tag=_TAG, answer={EVENTS: Raw}, statuses=STORED
        ),
    }
)
"""By method and path."""
