"""What clients and operators are told of what was used, and how each end of a request gets into the books."""

import asyncio
import contextlib
import csv
import io
from collections.abc import Callable

import aiohttp
import msgspec
import pytest

from proxy.model.tally import COUNTED, Dimension, Tally
from proxy.pool import Fault
from proxy.server.app import ROUTES
from proxy.server.context import Services
from proxy.server.usage import csv_of
from proxy.store.base import StoreError
from proxy.telemetry.usage import HOUR_MS
from tests.support.house import ErrorBody, ErrorEnvelope
from tests.unit.dispatch.building import (
    CLOSE,
    DELTA,
    HELLO,
    MODEL,
    OPEN,
    OVERLOADED,
    START,
    WHOLE,
    Bench,
    bench,
    body,
    refused,
    streamed,
    whole,
)
from tests.unit.server.building import ADMINISTRATOR, AUTHORIZED, client, services

_MESSAGES = "/v1/messages"
_CHAT = "/v1/chat/completions"
_LONG = body(max_tokens=30_000)
"""Of a chat client: asked for as a stream, and collected."""


class _Row(msgspec.Struct, kw_only=True):
    requests: int
    errors: int
    abandoned: int
    partial: int
    unpriced: int
    input_tokens: int
    output_tokens: int
    cost_micro_usd: int | None
    cost_usd: float | None
    client: str = ""
    credential: str = ""
    model: str = ""
    hour: str = ""


class _Usage(msgspec.Struct):
    by: str
    begin: str = msgspec.field(name="from")
    end: str = msgspec.field(name="to")
    prices_as_of: str
    rows: list[_Row]
    total: _Row


async def _settled(house: Bench, path: str, data: bytes) -> Services:
    """The services after one request."""
    shared = services(house)
    async with client(shared, ROUTES) as asked:
        answer = await asked.post(path, data=data, headers=AUTHORIZED)
        with contextlib.suppress(aiohttp.ClientPayloadError):
            await answer.read()
    return shared


async def _usage(shared: Services, query: str = "") -> _Usage:
    async with client(shared, ROUTES) as asked:
        answer = await asked.get(f"/admin/usage{query}", headers=ADMINISTRATOR)
        assert answer.status == 200, await answer.text()
        return msgspec.json.decode(await answer.read(), type=_Usage)


async def _refusal(shared: Services, query: str) -> tuple[int, ErrorBody]:
    async with client(shared, ROUTES) as asked:
        answer = await asked.get(f"/admin/usage{query}", headers=ADMINISTRATOR)
        return answer.status, msgspec.json.decode(await answer.read(), type=ErrorEnvelope).error


_BROKEN = (START, OPEN, HELLO, Fault.TRUNCATED)


@pytest.mark.parametrize(
    ("make", "path", "data", "expected"),
    [
        (
            lambda: bench(whole()),
            _MESSAGES,
            body(),
            Tally(requests=1, priced=1, input_tokens=3, output_tokens=7),
        ),
        (lambda: bench(whole()), _CHAT, body(), Tally(requests=1, priced=1, input_tokens=3, output_tokens=7)),
        (
            lambda: bench(streamed(*WHOLE)),
            _MESSAGES,
            body(stream=True),
            Tally(requests=1, priced=1, input_tokens=3, output_tokens=7),
        ),
        (
            lambda: bench(streamed(*WHOLE)),
            _CHAT,
            body(stream=True),
            Tally(requests=1, priced=1, input_tokens=3, output_tokens=7),
        ),
        (
            lambda: bench(streamed(*WHOLE)),
            _CHAT,
            _LONG,
            Tally(requests=1, priced=1, input_tokens=3, output_tokens=7),
        ),
        # rescued: what the first one did is paid too, where it did anything
        (
            lambda: bench(refused(500), Fault.RESET, whole()),
            _MESSAGES,
            body(),
            Tally(requests=1, priced=1, input_tokens=3, output_tokens=7),
        ),
        (
            lambda: bench(streamed(*_BROKEN), streamed(*WHOLE)),
            _CHAT,
            _LONG,
            Tally(requests=1, priced=2, partial=1, input_tokens=6, output_tokens=8),
        ),
        # broken off after the first byte
        (
            lambda: bench(streamed(*_BROKEN)),
            _MESSAGES,
            body(stream=True),
            Tally(requests=1, errors=1, priced=1, partial=1, input_tokens=3, output_tokens=1),
        ),
        (
            lambda: bench(streamed(START, OPEN, HELLO, CLOSE, DELTA, OVERLOADED)),
            _CHAT,
            body(stream=True),
            Tally(requests=1, errors=1, priced=1, partial=1, input_tokens=3, output_tokens=7),
        ),
        # nobody answered
        (lambda: bench(refused(400)), _MESSAGES, body(), Tally(requests=1, errors=1)),
        (bench, _MESSAGES, b"{", Tally(requests=1, errors=1)),
        (
            lambda: bench(streamed(*_BROKEN), streamed(*_BROKEN), retry_count=1),
            _CHAT,
            _LONG,
            Tally(requests=1, errors=1, priced=2, partial=2, input_tokens=6, output_tokens=2),
        ),
        # free, and untold
        (
            lambda: bench(whole(b'{"input_tokens":12}')),
            f"{_MESSAGES}/count_tokens",
            body(),
            Tally(requests=1),
        ),
        (
            lambda: bench(whole(b'{"type":"message","content":[]}')),
            _MESSAGES,
            body(),
            Tally(requests=1, unpriced=1),
        ),
    ],
)
async def test_every_end_of_a_request_is_in_the_books_once(
    make: Callable[[], Bench], path: str, data: bytes, expected: Tally
) -> None:
    """Protects the bill: each token an upstream told of is counted, once, whatever became of the answer."""
    found = (await _settled(make(), path, data)).bookkeeper.ledger.total()
    expected.cost_micro_usd = 2 * expected.input_tokens + 10 * expected.output_tokens
    assert found == expected


@pytest.mark.parametrize("path", [_MESSAGES, _CHAT])
async def test_a_client_that_leaves_pays_for_what_had_come(path: str) -> None:
    """Protects the bill from streams that are left: what had been told is counted, and marked."""
    shared = services(bench(streamed(START, OPEN, HELLO, None)))
    async with client(shared, ROUTES) as asked:
        answer = await asked.post(path, data=body(stream=True), headers=AUTHORIZED)
        await answer.content.readany()
        answer.close()
        async with asyncio.timeout(10):
            while not (found := shared.bookkeeper.ledger.total()).requests:  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0.005)
    assert found == Tally(
        requests=1, abandoned=1, partial=1, priced=1, input_tokens=3, output_tokens=1, cost_micro_usd=16
    )


async def test_a_client_that_leaves_while_its_answer_is_collected_pays_too() -> None:
    """Protects the bill where the answer was not to be streamed, though the upstream's was."""
    house = bench(streamed(START, OPEN, HELLO, None))
    shared = services(house)
    async with client(shared, ROUTES) as asked:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await asked.post(_CHAT, data=_LONG, headers=AUTHORIZED)
        async with asyncio.timeout(10):
            while not (found := shared.bookkeeper.ledger.total()).requests:  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0.005)
    assert found == Tally(
        requests=1, abandoned=1, partial=1, priced=1, input_tokens=3, output_tokens=1, cost_micro_usd=16
    )


async def test_a_client_sees_what_it_used_and_the_operator_what_all_did() -> None:
    """Protects the shape of the numbers, and each client's from the others."""
    house = bench(whole(), refused(400))
    shared = services(house)
    async with client(shared, ROUTES) as asked:
        await asked.post(_MESSAGES, data=body(), headers=AUTHORIZED)
        await asked.post(_MESSAGES, data=body(), headers=AUTHORIZED)
        house.clock.advance(90.0)
        own = await (await asked.get("/stats", headers=AUTHORIZED)).json()
        everything = await (await asked.get("/stats", headers=ADMINISTRATOR)).json()
        refusals = [(await asked.get("/stats", headers=given)).status for given in ({}, {"x-api-key": "no"})]
    assert (
        own
        == everything
        == {
            "version": own["version"],
            "uptime_seconds": 90,
            "requests": 2,
            "errors": 1,
            "tokens": 10,
            "cost_usd": 0.000076,
            "unpriced": 0,
            "active_sessions": 0,
            "conversations": 0,
            "cache": {"entries": 0, "hits": 0, "misses": 0},
            "workers": 1,
        }
    )
    assert refusals == [401, 401]


async def test_without_keys_a_client_is_anonymous_and_the_operator_still_the_operator() -> None:
    """Protects the numbers of named clients from whoever may come in without a key."""
    shared = services(bench(whole(), whole()), require_auth=False)
    async with client(shared, ROUTES) as asked:
        await asked.post(_MESSAGES, data=body(), headers=AUTHORIZED)
        await asked.post(_MESSAGES, data=body())
        anonymous = await (await asked.get("/stats")).json()
        everything = await (await asked.get("/stats", headers=ADMINISTRATOR)).json()
    assert (anonymous["requests"], everything["requests"]) == (1, 2)


async def test_usage_is_told_apart_for_what_was_asked() -> None:
    """Protects the answer's shape: rows, their total, the hours, and the day the prices are of."""
    house = bench(Fault.RESET, whole(), refused(400))
    shared = await _settled(house, _MESSAGES, body())
    async with client(shared, ROUTES) as asked:
        await asked.post(_MESSAGES, data=body(), headers=AUTHORIZED)
    found = await _usage(shared, "?by=credential")
    assert [(row.credential, row.requests, row.errors, row.cost_micro_usd) for row in found.rows] == [
        ("", 1, 1, 0),
        ("api-2", 1, 0, 76),
    ]
    assert (found.by, found.total.requests, found.total.cost_usd) == ("credential", 2, 0.000076)
    assert found.prices_as_of == str(shared.catalog.as_of)
    assert [row.model for row in (await _usage(shared, "?by=model")).rows] == [MODEL]
    assert [row.client for row in (await _usage(shared)).rows] == ["env-1"]
    (hour,) = (await _usage(shared, "?by=hour")).rows
    assert hour.hour == "2026-11-18T11:00:00Z"
    assert found.end == "2026-11-18T12:00:00Z"
    assert found.begin == "2026-08-20T12:00:00Z"


@pytest.mark.parametrize(
    ("query", "begin", "end"),
    [
        ("from=2026-11-18&to=2026-11-19", "2026-11-18T00:00:00Z", "2026-11-19T00:00:00Z"),
        ("from=2026-11-18T10:59:59Z", "2026-11-18T10:00:00Z", "2026-11-18T12:00:00Z"),
        ("to=2026-11-18T10:00:01Z", "2026-08-20T11:00:00Z", "2026-11-18T11:00:00Z"),
        (
            "from=2026-11-18T01:30:00%2B05:30&to=2026-11-18T10:00",
            "2026-11-17T20:00:00Z",
            "2026-11-18T10:00:00Z",
        ),
    ],
)
async def test_the_hours_are_those_the_times_touch(query: str, begin: str, end: str) -> None:
    """Protects against half an hour, of which there are no numbers, and from local times."""
    found = await _usage(services(), f"?{query}")
    assert (found.begin, found.end, found.rows) == (begin, end, [])


async def test_the_hour_that_has_just_begun_is_among_them() -> None:
    """Protects the first request of an hour from being left out until the next one."""
    house = bench(whole())
    house.clock.wall_ms = house.clock.wall_ms // HOUR_MS * HOUR_MS
    found = await _usage(await _settled(house, _MESSAGES, body()))
    assert (found.total.requests, found.end) == (1, "2026-11-18T12:00:00Z")


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("by=colour", "by"),
        ("by=", "by"),
        ("by=client&by=model", "by"),
        ("from=yesterday", "from"),
        ("from=", "from"),
        ("to=2026-13-01", "to"),
        ("to=0001-01-01T00:00%2B14:00", "to"),
        ("from=9999-12-31T23:59-14:00", "from"),
        ("from=2026-11-19&to=2026-11-18", "from"),
        ("from=2026-11-19&to=2026-11-19", "from"),
        ("from=2999-01-01", "from"),
        ("format=xml", "format"),
        ("until=2026-11-19", "until"),
    ],
)
async def test_a_parameter_that_makes_no_sense_is_named(query: str, param: str) -> None:
    """Protects operators from numbers of another time than the one they meant."""
    status, error = await _refusal(services(), f"?{query}")
    assert (status, error.param) == (400, param)


async def test_a_store_that_cannot_be_read_is_told_and_its_path_is_not() -> None:
    """Protects against old numbers in the place of none."""
    house = bench()
    house.store.problem = StoreError("/srv/secret/carousel.db: the disk is full.")
    status, error = await _refusal(services(house), "")
    assert (status, error.code) == (503, "store_unavailable")
    assert "secret" not in error.message


@pytest.mark.parametrize(
    ("query", "accept", "is_csv"),
    [
        ("", "*/*", False),
        ("", "text/csv", True),
        ("", "application/json, Text/CSV;q=0.5", True),
        ("?format=csv", "application/json", True),
        ("?format=json", "text/csv", False),
    ],
)
async def test_csv_comes_to_those_who_ask_for_it(query: str, accept: str, is_csv: bool) -> None:
    """Protects spreadsheets from JSON, and browsers' own wishes from deciding."""
    shared = await _settled(bench(whole()), _MESSAGES, body())
    async with client(shared, ROUTES) as asked:
        answer = await asked.get(f"/admin/usage{query}", headers={**ADMINISTRATOR, "accept": accept})
        text = await answer.text()
    assert (answer.content_type == "text/csv") is is_csv
    if is_csv:
        (row,) = csv.DictReader(io.StringIO(text))
        assert (row["client"], row["output_tokens"], row["cost_usd"]) == ("env-1", "7", "0.000076")
        assert answer.headers["content-disposition"] == 'attachment; filename="usage-by-client.csv"'
        assert answer.headers["x-request-id"].startswith("req_")


@pytest.mark.parametrize(
    ("name", "cell"),
    [
        ("=1+1", "'=1+1"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\t=1"),
        ("\r=1", "'\r=1"),
        ("a=1", "a=1"),
        ('say "hi", you', 'say "hi", you'),
        ("two\nlines", "two\nlines"),
        ("", ""),
    ],
)
def test_no_cell_is_a_formula(name: str, cell: str) -> None:
    """Protects whoever opens the table from what a client called its model."""
    table = list(csv.reader(io.StringIO(csv_of(Dimension.MODEL, [(name, Tally(requests=1))]), newline="")))
    assert table == [["model", *COUNTED, "cost_usd"], [cell, "1", *["0"] * (len(COUNTED) - 1), "0.000000"]]


def test_an_unknown_cost_is_an_empty_cell() -> None:
    """Protects sums in a spreadsheet from a cost of zero that is none."""
    text = csv_of(Dimension.HOUR, [(HOUR_MS, Tally(unpriced=1))])
    (row,) = csv.DictReader(io.StringIO(text))
    assert (row["hour"], row["cost_micro_usd"], row["cost_usd"]) == ("1970-01-01T01:00:00Z", "", "")
