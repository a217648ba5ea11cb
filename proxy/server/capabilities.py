"""``GET /v1/capabilities``: what each kind of credential can carry, for programs."""

from collections.abc import Mapping
from typing import Final

import msgspec
from aiohttp import web

from proxy.capabilities import CELLS, ROWS, Cell, Feature, Front, Row, Verdict
from proxy.credentials import Kind
from proxy.server.extras import raw_json_response


class FeatureSupport(msgspec.Struct, frozen=True):
    """One feature: the fields it is asked for in, and what becomes of it by dialect and kind."""

    id: Feature
    title: str
    fields: Mapping[Front, str]
    support: Mapping[Front, Mapping[Kind, Cell]]


class Capabilities(msgspec.Struct, frozen=True):
    """The whole table, and the words it is written in."""

    object: str
    dialects: tuple[Front, ...]
    kinds: tuple[Kind, ...]
    verdicts: tuple[Verdict, ...]
    features: tuple[FeatureSupport, ...]


def _support(feature: Feature, row: Row) -> FeatureSupport:
    return FeatureSupport(
        id=feature,
        title=row.title,
        fields=row.fields,
        support={front: {kind: CELLS[feature, front, kind] for kind in Kind} for front in Front},
    )


_BODY: Final = msgspec.json.encode(
    Capabilities(
        object="capabilities",
        dialects=tuple(Front),
        kinds=tuple(Kind),
        verdicts=tuple(Verdict),
        features=tuple(_support(feature, row) for feature, row in ROWS.items()),
    )
)


async def capabilities(request: web.Request) -> web.Response:
    """The whole table: for each feature, dialect and kind the verdict, the field it is told under, and a note."""
    return raw_json_response(request, _BODY)
