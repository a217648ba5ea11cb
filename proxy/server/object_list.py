"""``GET /v1/files`` and ``GET /v1/messages/batches``: one list of what a client has at all credentials.

Which objects a page shows is known here; what they look like now is asked of the credentials that hold them. Source:
the Files and Message Batches pages of Anthropic's API documentation.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import msgspec
from aiohttp import web

from proxy.dispatch.ownership import Held
from proxy.errors import GatewayError, InvalidRequest
from proxy.exchange import Operation
from proxy.server.object_request import ObjectRequest
from proxy.server.object_view import shown_batch
from proxy.server.query import number
from proxy.store.base import Cut

_PAGE_DEFAULT: Final = 20
_PAGE_MAX: Final = 1000
_IDS_MAX: Final = 100
_PARTS_MAX: Final = 5
_TOKEN: Final = "page_"  # noqa: S105 - how a cursor begins
_CURSORS: Final = ("after_id", "before_id", "page")


class _Item(msgspec.Struct):
    id: str


class _Listed(msgspec.Struct):
    data: list[msgspec.Raw]


class _Bounds(msgspec.Struct, frozen=True):
    """Where a page begins or ends.

    Attributes:
        field: the parameter that says so; empty for the beginning of the list.
        id: of the object named there.
    """

    field: str = ""
    id: str = ""

    @property
    def backwards(self) -> bool:
        """Whether the page ends there."""
        return self.field == "before_id"

    def cut(self, most: int) -> Cut:
        """The rows to look at."""
        if not self.field:
            return Cut(most=most)
        return Cut(most=most, before=self.id) if self.backwards else Cut(most=most, after=self.id)


async def list_objects(asked: ObjectRequest) -> web.StreamResponse:
    """A page of a client's own objects, newest first."""
    query = asked.request.query
    ids = tuple(dict.fromkeys((*query.getall("ids[]", ()), *query.getall("ids", ()))))
    limit = number(asked.request, "limit", default=_PAGE_DEFAULT, most=_PAGE_MAX)
    if ids and asked.kind is Operation.FILES:
        if len(ids) > _IDS_MAX:
            raise InvalidRequest(f"ids may name at most {_IDS_MAX} files.", param="ids")
        held = await asked.services.ownership.held(asked.tenant, asked.kind, ids)
        views = await _views(asked, list(held.values()))
        return _answer(asked, [(one, views[one]) for one in ids if one in views], more=False)
    data, more = await _page(asked, _bounds(asked), limit)
    return _answer(asked, data, more=more)


def _bounds(asked: ObjectRequest) -> _Bounds:
    query = asked.request.query
    given = [name for name in _CURSORS if query.get(name)]
    if not given:
        return _Bounds()
    if len(given) > 1:
        raise InvalidRequest(f"{given[0]} and {given[1]} cannot both be given.", param=given[1])
    field = given[0]
    value = query[field]
    if field != "page":
        return _Bounds(field, value)
    if not value.startswith(_TOKEN):
        raise InvalidRequest("page is no cursor of this list.", param="page")
    return _Bounds(field, value.removeprefix(_TOKEN))


async def _page(asked: ObjectRequest, bounds: _Bounds, limit: int) -> tuple[list[tuple[str, bytes]], bool]:
    """The objects of a page and whether there are more; the places of those that are no more are filled."""
    data: list[tuple[str, bytes]] = []
    more = True
    for _ in range(_PARTS_MAX):
        room = limit - len(data)
        rows = await asked.services.ownership.page(asked.tenant, asked.kind, bounds.cut(room + 1))
        if rows is None:
            raise asked.not_found(bounds.id, bounds.field)
        more = len(rows) > room
        part = rows[-room:] if bounds.backwards else rows[:room]
        views = await _views(asked, part)
        found = [(held.id, views[held.id]) for held in part if held.id in views]
        data = [*found, *data] if bounds.backwards else [*data, *found]
        if not more or len(data) >= limit:
            break
        bounds = _Bounds("before_id", part[0].id) if bounds.backwards else _Bounds("after_id", part[-1].id)
    return data, more


async def _views(asked: ObjectRequest, held: Sequence[Held]) -> Mapping[str, bytes]:
    """What the objects look like now, by id; without those that are no more, or whose credential is gone."""
    views: dict[str, bytes] = {}
    for owner in dict.fromkeys(one.credential for one in held):
        if owner is None:
            continue
        theirs = [one for one in held if one.credential == owner]
        together = await _together(asked, owner, [one.id for one in theirs])
        for one in theirs:
            found = together.get(one.id) or await _single(asked, owner, one)
            if found is not None:
                views[one.id] = found
    return views


async def _together(asked: ObjectRequest, owner: str, ids: Sequence[str]) -> dict[str, bytes]:
    """Those of the objects that one or a few calls tell of."""
    found: dict[str, bytes] = {}
    if len(ids) < 2:
        return found
    for query in _queries(asked.kind, ids):
        try:
            body = await asked.read(asked.asked(asked.call("GET", query=query), owner))
        except GatewayError as error:
            if error.status == 400:
                # not every version of the API can be asked for some files at once
                return found
            raise
        found.update(_by_id(body))
    return found


def _queries(kind: Operation, ids: Sequence[str]) -> Iterator[tuple[tuple[str, str], ...]]:
    if kind is Operation.BATCHES:
        yield (("limit", str(_PAGE_MAX)),)
        return
    for start in range(0, len(ids), _IDS_MAX):
        yield tuple(("ids[]", one) for one in ids[start : start + _IDS_MAX])


async def _single(asked: ObjectRequest, owner: str, held: Held) -> bytes | None:
    """One object; None where the upstream has it no more, as files and results are kept for a time only."""
    try:
        return await asked.read(asked.asked(asked.call("GET", held.id), owner))
    except GatewayError as error:
        if error.status != 404:
            raise
    if held.certain:
        await asked.services.ownership.forget(asked.tenant, asked.kind, held.id)
    return None


def _by_id(body: bytes) -> dict[str, bytes]:
    try:
        items = msgspec.json.decode(body, type=_Listed).data
        return {msgspec.json.decode(item, type=_Item).id: bytes(item) for item in items}
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}


def _answer(asked: ObjectRequest, data: Sequence[tuple[str, bytes]], *, more: bool) -> web.Response:
    batches = asked.kind is Operation.BATCHES
    last = data[-1][0] if data else None
    page: dict[str, object] = {
        "data": [msgspec.Raw(shown_batch(view) if batches else view) for _, view in data],
        "has_more": more,
        "first_id": data[0][0] if data else None,
        "last_id": last,
    }
    if not batches:
        page["next_page"] = f"{_TOKEN}{last}" if more and last is not None else None
    return asked.json(msgspec.json.encode(page))
