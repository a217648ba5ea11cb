"""Who may pass, and that every error comes in the envelope of the dialect that was called."""

import asyncio
from collections.abc import Callable

import pytest
from aiohttp import web

from proxy.access import Rules
from proxy.access.keys import random_key
from proxy.errors import ErrorKind, GatewayError, InvalidRequest, TooLarge
from proxy.server.context import CALLER
from proxy.server.routes import ANTHROPIC, OPENAI_CHAT, Access, Handler, Route
from tests.support.gateway import CLIENT_KEY
from tests.unit.server.building import ADMINISTRATOR, AUTHORIZED, client, services, settings
from tests.unit.telemetry.recording import RecordedLog

_BEHIND = settings(TRUSTED_PROXIES="127.0.0.1")


def _raising(make: Callable[[], BaseException]) -> Handler:
    async def handler(_: web.Request) -> web.StreamResponse:
        raise make()

    return handler


async def _name(request: web.Request) -> web.StreamResponse:
    caller = request[CALLER]
    return web.Response(text=f"{caller.client} {caller.request_id}")


def _routes(handler: Handler = _name) -> list[Route]:
    return [
        Route("GET", "/public", handler, Access.PUBLIC),
        Route("POST", "/v1/chat/completions", handler, Access.CLIENT, OPENAI_CHAT),
        Route("POST", "/v1/messages", handler, Access.CLIENT, ANTHROPIC),
        Route("GET", "/v1/models/{model}", handler, Access.CLIENT),
        Route("GET", "/admin/pool", handler, Access.ADMIN),
    ]


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> RecordedLog:
    """What the module logs."""
    found = RecordedLog()
    monkeypatch.setattr("proxy.server.gate._log", found)
    return found


@pytest.mark.parametrize(
    ("path", "headers", "name"),
    [
        ("/public", {}, ""),
        ("/public", AUTHORIZED, ""),
        ("/v1/models/x", AUTHORIZED, "env-1"),
        ("/admin/pool", ADMINISTRATOR, ""),
    ],
)
async def test_a_caller_with_the_right_key_passes_under_its_name(
    path: str, headers: dict[str, str], name: str
) -> None:
    """Protects limits and logs, which know clients by the name of their key."""
    async with client(services(), _routes()) as asked:
        answer = await asked.get(path, headers=headers)
        assert answer.status == 200
        shown, _, request_id = (await answer.text()).partition(" ")
        assert shown == name
        assert request_id.startswith("req_")
        assert len(request_id) == 28


@pytest.mark.parametrize(("path", "status"), [("/v1/models/x", 200), ("/public", 200), ("/admin/pool", 401)])
async def test_where_clients_need_no_key_administration_still_does(path: str, status: int) -> None:
    """Protects the operator's side of a server that is open to all."""
    async with client(services(require_auth=False), _routes()) as asked:
        assert (await asked.get(path)).status == status
        assert (await asked.get(path, headers={"x-api-key": "any-key"})).status == status


@pytest.mark.parametrize(
    ("path", "body", "kind"),
    [
        ("/v1/messages", {"type", "error", "request_id"}, "authentication_error"),
        ("/v1/chat/completions", {"error", "request_id"}, "invalid_request_error"),
    ],
)
async def test_a_refused_caller_reads_it_in_its_own_dialect(path: str, body: set[str], kind: str) -> None:
    """Protects SDKs, which raise their own exceptions by these fields."""
    async with client(services(), _routes()) as asked:
        answer = await asked.post(path)
        found = await answer.json()
        assert answer.status == 401
        assert answer.headers["www-authenticate"] == "Bearer"
        assert set(found) == body
        assert found["error"]["type"] == kind
        assert found["request_id"] == answer.headers["x-request-id"]
        assert ("request-id" in answer.headers) is (path == "/v1/messages")


_ERRORS: list[tuple[Callable[[], BaseException], int]] = [
    (lambda: InvalidRequest("m", param="p"), 400),
    (lambda: GatewayError(429, ErrorKind.RATE_LIMIT, "m", retry_after_s=1.2, should_retry=False), 429),
    (lambda: GatewayError(503, ErrorKind.API, "m"), 503),
    (lambda: TooLarge(10), 413),
    (web.HTTPNotFound, 404),
    (lambda: web.HTTPMethodNotAllowed("PUT", ["GET"]), 405),
    (lambda: web.HTTPRequestEntityTooLarge(10, 20), 413),
    (web.HTTPExpectationFailed, 417),
    (lambda: ValueError("sk-ant-canary"), 500),
    (lambda: KeyError("sk-ant-canary"), 500),
    (lambda: RecursionError("sk-ant-canary"), 500),
    (lambda: TimeoutError("sk-ant-canary"), 500),
]


@pytest.mark.parametrize(("make", "status"), _ERRORS, ids=[type(make()).__name__ for make, _ in _ERRORS])
@pytest.mark.parametrize("path", ["/v1/messages", "/v1/chat/completions"])
async def test_whatever_a_handler_raises_becomes_an_envelope(
    log: RecordedLog, make: Callable[[], BaseException], status: int, path: str
) -> None:
    """Protects clients from the framework's own pages, and logs and answers from the texts of exceptions."""
    async with client(services(), _routes(_raising(make))) as asked:
        answer = await asked.post(path, headers=AUTHORIZED)
        found = await answer.json()
    assert answer.status == status
    assert answer.content_type == "application/json"
    assert isinstance(found["error"]["message"], str)
    assert "canary" not in str(found)
    assert "canary" not in str(log.lines)
    assert bool(log.of("unexpected error")) is (status == 500)


async def test_a_method_that_an_address_has_not_is_told_with_those_it_has() -> None:
    """Protects programs that find out what they may do; source: RFC 9110, section 15.5.6."""
    async with client(services(), _routes(_raising(web.HTTPOk))) as asked:
        answer = await asked.put("/v1/messages", headers=AUTHORIZED)
    assert answer.status == 405
    assert answer.headers["allow"] == "POST"


async def test_an_unexpected_error_is_logged_by_class_and_place(log: RecordedLog) -> None:
    """Protects operators, who have to find it without its text."""
    async with client(services(), _routes(_raising(lambda: ValueError("secret")))) as asked:
        answer = await asked.post("/v1/messages", headers=AUTHORIZED)
    (line,) = log.of("unexpected error")
    assert line["error"] == "ValueError"
    assert "test_gate.py:" in str(line["at"])
    assert line["request_id"] == answer.headers["x-request-id"]
    assert answer.headers["x-should-retry"] == "false"


async def test_hints_for_trying_again_are_headers() -> None:
    """Protects the SDKs' own retries, which go by these."""
    error = GatewayError(429, ErrorKind.RATE_LIMIT, "m", retry_after_s=1.2, should_retry=False)
    async with client(services(), _routes(_raising(lambda: error))) as asked:
        answer = await asked.post("/v1/messages", headers=AUTHORIZED)
    assert answer.headers["retry-after"] == "2"
    assert answer.headers["x-should-retry"] == "false"


@pytest.mark.parametrize(("status", "closes"), [(400, False), (408, True), (413, True)])
async def test_a_connection_with_an_unread_body_is_closed(status: int, closes: bool) -> None:
    """Protects the next request from being read out of the rest of this one's body."""
    error = GatewayError(status, ErrorKind.INVALID_REQUEST, "m")
    async with client(services(), _routes(_raising(lambda: error))) as asked:
        answer = await asked.post("/v1/messages", headers=AUTHORIZED)
        assert (answer.headers.get("connection") == "close") is closes


async def test_requests_are_counted_while_they_last_however_they_end() -> None:
    """Protects the drain from waiting for a request that is over."""
    shared = services()
    counts = []

    async def handler(_: web.Request) -> web.StreamResponse:
        counts.append(shared.inflight.count)
        raise ValueError("broke")

    async with client(shared, _routes(handler)) as asked:
        await asked.get("/public")
        await asked.get("/v1/models/x")
        await asked.get("/nothing")
    assert counts == [1]
    assert shared.inflight.count == 0


async def test_while_draining_each_answer_closes_its_connection() -> None:
    """Protects a rolling restart: clients go to another replica with their next request."""
    shared = services()
    async with client(shared, _routes()) as asked:
        assert "connection" not in (await asked.get("/public")).headers
        shared.inflight.draining = True
        assert (await asked.get("/public")).headers["connection"] == "close"


async def test_common_headers_are_on_errors_too() -> None:
    """Protects clients of a demo from taking its errors for real ones."""
    async with client(services(common_headers={"x-carousel-demo": "1"}), _routes()) as asked:
        assert (await asked.post("/v1/messages")).headers["x-carousel-demo"] == "1"


@pytest.mark.parametrize("path", ["/v1/messages/unknown", "/hf/v1/messages/batches"])
async def test_an_unknown_address_below_messages_answers_in_that_dialect(path: str) -> None:
    """Protects Anthropic's SDK from an envelope it does not know."""
    async with client(services(), _routes()) as asked:
        assert (await (await asked.get(path, headers=AUTHORIZED)).json())["type"] == "error"


async def test_a_handler_that_is_cancelled_stays_cancelled() -> None:
    """Protects the end of a request whose client has left from becoming an answer."""
    shared = services()
    began, ended = asyncio.Event(), asyncio.Event()

    async def handler(_: web.Request) -> web.StreamResponse:
        began.set()
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            ended.set()
            raise
        return web.Response()

    async with client(shared, _routes(handler)) as asked:
        task = asyncio.create_task(_ask(asked.get("/public")))  # noqa: TID251 - held by this test
        await began.wait()
        task.cancel()
        await asyncio.wait_for(ended.wait(), 20)
    assert shared.inflight.count == 0


async def _ask(work: object) -> None:
    await work  # type: ignore[misc]  # the client's own context manager, awaited


async def test_a_key_in_the_words_of_an_error_is_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects keys that an upstream, or a client's own mistake, puts into the words of an error."""
    error = InvalidRequest("You sent sk-ant-api03-canarycanary")
    async with client(services(), _routes(_raising(lambda: error))) as asked:
        text = await (await asked.post("/v1/messages", headers=AUTHORIZED)).text()
    assert "canary" not in text
    assert CLIENT_KEY not in text


async def test_wrong_keys_are_counted_and_right_ones_always_work() -> None:
    """Protects keys from being guessed, and their owners from whoever guesses at the same address."""
    shared = services()
    async with client(shared, _routes()) as asked:
        wrong = {"x-api-key": "wrong"}
        statuses = [(await asked.get("/v1/models/x", headers=wrong)).status for _ in range(6)]
        statuses += [(await asked.get("/admin/pool", headers=wrong)).status for _ in range(5)]
        assert statuses == [401] * 10 + [429]
        refused = await asked.post("/v1/messages", headers=wrong)
        assert (refused.status, refused.headers["retry-after"]) == (429, "60")
        assert (await refused.json())["error"]["type"] == "rate_limit_error"
        assert (await asked.get("/v1/models/x", headers=AUTHORIZED)).status == 200
        assert (await asked.get("/admin/pool", headers=ADMINISTRATOR)).status == 200
        made = random_key()
        await shared.admission.desk.stored.add("made", Rules(), made)
        assert (await asked.get("/v1/models/x", headers={"x-api-key": made.reveal()})).status == 200


async def test_only_a_wrong_key_is_a_guess() -> None:
    """Protects clients without a key, with a key of the past, and with one that opens another route."""
    shared = services()
    stored = shared.admission.desk.stored
    old, late = random_key(), random_key()
    await stored.add("old", Rules(), old)
    await stored.revoke("old")
    await stored.add("late", Rules(expires_unix_ms=1), late)
    async with client(shared, _routes()) as asked:
        for _ in range(5):
            for path, headers in (
                ("/v1/models/x", {}),
                ("/v1/models/x", ADMINISTRATOR),
                ("/admin/pool", {}),
                ("/admin/pool", AUTHORIZED),
                ("/v1/models/x", {"x-api-key": old.reveal()}),
                ("/admin/pool", {"x-api-key": old.reveal()}),
                ("/v1/models/x", {"x-api-key": late.reveal()}),
                ("/v1/models/x", {"x-api-key": "one", "api-key": "two"}),
            ):
                assert (await asked.get(path, headers=headers)).status == 401
        assert len(shared.admission.guesses) == 0


async def test_behind_a_trusted_proxy_each_client_is_counted_for_itself() -> None:
    """Protects all clients of a proxy from one guesser among them."""
    async with client(services(configured=_BEHIND), _routes()) as asked:
        guesses = [{"x-api-key": "wrong", "x-forwarded-for": f"192.0.2.{number}"} for number in range(3)]
        for headers in guesses * 10:
            assert (await asked.get("/v1/models/x", headers=headers)).status == 401
        assert (await asked.get("/v1/models/x", headers=guesses[0])).status == 429


async def test_the_rules_of_a_key_go_with_its_request() -> None:
    """Protects limits: what the handler does not know it cannot keep."""
    shared, made = services(), random_key()
    await shared.admission.desk.stored.add("made", Rules(concurrency=2), made)
    seen = []

    async def handler(request: web.Request) -> web.StreamResponse:
        seen.append((request[CALLER].client, request[CALLER].rules))
        return web.Response()

    async with client(shared, _routes(handler)) as asked:
        await asked.get("/v1/models/x", headers={"x-api-key": made.reveal()})
        await asked.get("/v1/models/x", headers=AUTHORIZED)
    assert seen == [("made", Rules(concurrency=2)), ("env-1", None)]
