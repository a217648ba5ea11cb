"""``GET /v1/capabilities``: what each kind of credential can carry, for programs."""

from typing import Final

import msgspec
from aiohttp import web

from proxy.capabilities import CELLS, ROWS, Cell, Feature, Front, Row, Verdict
from proxy.credentials import Kind
from proxy.server.extras import raw_json_response


def _feature(feature: Feature, row: Row) -> dict[str, object]:
    return {
        "id": feature,
        "title": row.title,
        "fields": row.fields,
        "support": {front: _support(feature, front) for front in Front},
    }


def _support(feature: Feature, front: Front) -> dict[Kind, Cell]:
    return {kind: CELLS[feature, front, kind] for kind in Kind}


_BODY: Final = msgspec.json.encode(
    {
        "object": "capabilities",
        "dialects": list(Front),
        "kinds": list(Kind),
        "verdicts": list(Verdict),
        "features": [_feature(feature, row) for feature, row in ROWS.items()],
    }
)


async def capabilities(request: web.Request) -> web.Response:
    """The whole table: for each feature, dialect and kind the verdict, the field it is told under, and a note."""
    return raw_json_response(request, _BODY)
