"""No value a client sends gets into a header, upstream or back, unless it is plain."""

import pytest

from proxy import __version__
from proxy.simulator import Simulator
from tests.security.wire import Answer, ask, chat_body, converse, messages_body, request
from tests.support.gateway import Gateway

pytestmark = pytest.mark.asyncio(loop_scope="module")

_INJECTED = "x-injected"
_FORWARDED = ("anthropic-beta", "anthropic-version")
_SPLITTING = {
    "a line break": f"a\r\n{_INJECTED}: 1".encode(),
    "a line feed": f"a\n{_INJECTED}: 1".encode(),
    "a carriage return": f"a\r{_INJECTED}: 1".encode(),
    "a null": b"a\x00b",
    "two line breaks": f"a\r\n\r\nHTTP/1.1 200 OK\r\n{_INJECTED}: 1".encode(),
}
_ODD = {
    "Latin-1": b"caf\xe9",
    "UTF-8": "caf\u00e9".encode(),
    "a line separator": "a\u2028b".encode(),
    "an emoji": "\U0001f600".encode(),
    "no text at all": b"\xff\xfe\xfd",
    "a control character": b"a\x01b",
    "a delete character": b"a\x7fb",
    "an escape sequence": b"\x1b[31mred",
    "a vertical tab": b"a\x0bb",
    "more than 2,048 characters": b"a" * 2049,
}
_MODELS = {
    "a line break": f"claude-x\r\n{_INJECTED}: 1",
    "a line feed": f"claude-x\n{_INJECTED}: 1",
    "a carriage return": f"claude-x\r{_INJECTED}: 1",
    "a null": "claude-x\0",
    "no ASCII": "claude-caf\u00e9",
    "an emoji": "claude-\U0001f600",
    "a line separator": f"claude-\u2028{_INJECTED}: 1",
    "an escape sequence": "claude-\x1b[31m",
    "200 characters": "claude-" + "x" * 193,
    "10,000 characters": "claude-" + "x" * 9993,
}


def _unharmed(answer: Answer, claude: Simulator) -> None:
    assert answer.header(_INJECTED) is None
    assert all(received.header(_INJECTED) is None for received in claude.record.requests)
    assert all(name.isascii() and value.isprintable() for name, value in answer.headers)


@pytest.mark.parametrize("value", _SPLITTING.values(), ids=_SPLITTING.keys())
@pytest.mark.parametrize("name", [*_FORWARDED, "x-request-id", "user-agent"])
async def test_a_header_that_tries_to_become_two_never_does_so_upstream_or_in_the_answer(
    server: Gateway, claude: Simulator, name: str, value: bytes
) -> None:
    """Protects upstream requests and answers from lines a client wrote into them."""
    data = request("/v1/messages", messages_body(), headers={name: value})
    talk = await converse(server.url, data)
    assert talk.status in {200, 400}
    for answer in talk.answers:
        _unharmed(answer, claude)


@pytest.mark.parametrize("value", _ODD.values(), ids=_ODD.keys())
@pytest.mark.parametrize("name", _FORWARDED)
async def test_a_forwarded_header_that_is_not_plain_is_refused_by_name(
    server: Gateway, claude: Simulator, name: str, value: bytes
) -> None:
    """Protects the connection: a header that cannot be sent would otherwise break the call in the middle."""
    answer = await ask(server.url, "/v1/messages", messages_body(), headers={name: value})
    assert answer.status == 400
    _unharmed(answer, claude)
    assert claude.record.requests_total == 0
    if answer.header("content-type") == "application/json; charset=utf-8":
        assert name in str(answer.error()["message"])


@pytest.mark.parametrize("value", _ODD.values(), ids=_ODD.keys())
async def test_a_request_id_of_the_client_is_never_given_back(
    server: Gateway, claude: Simulator, value: bytes
) -> None:
    """Protects answers and logs: the id in them is always one of ours."""
    answer = await ask(server.url, "/v1/messages", messages_body(), headers={"x-request-id": value})
    _unharmed(answer, claude)
    assert answer.status in {200, 400}
    if answer.status == 200:
        shown = answer.header("x-request-id") or ""
        assert shown.startswith("req_")
        assert len(shown) == 28


@pytest.mark.parametrize("model", _MODELS.values(), ids=_MODELS.keys())
@pytest.mark.parametrize("path", ["/v1/messages", "/v1/chat/completions"])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_a_model_name_gets_into_no_header(
    server: Gateway, claude: Simulator, model: str, path: str, stream: bool
) -> None:
    """Protects the header that names the model, the log line and the connection from what a client calls one."""
    body = messages_body if path == "/v1/messages" else chat_body
    answer = await ask(server.url, path, body(model=model, stream=stream))
    assert answer.status in {400, 404}
    _unharmed(answer, claude)
    assert answer.header("x-carousel-model") is None
    assert not any(line.startswith((_INJECTED, "\x1b")) for line in server.output)


@pytest.mark.parametrize("name", ["x\r\ny: z", "x\ny", "x\0y", "caf\u00e9", "x" * 300, "x, y", "\U0001f600"])
async def test_the_name_of_a_dropped_field_gets_into_no_header_unless_it_is_plain(
    server: Gateway, claude: Simulator, name: str
) -> None:
    """Protects the header that lists dropped fields, whose names clients choose."""
    answer = await ask(server.url, "/v1/chat/completions", chat_body("Hello", **{name: 1}))
    assert answer.status == 200
    _unharmed(answer, claude)
    assert answer.header("y") is None
    assert len(answer.header("x-carousel-dropped") or "") <= 1024


async def test_five_thousand_dropped_fields_make_a_header_of_at_most_1_kb(server: Gateway) -> None:
    """Protects clients and proxies, which refuse answers with longer headers."""
    body = chat_body("Hello", **{f"unknown_field_{number}": number for number in range(5000)})
    answer = await ask(server.url, "/v1/chat/completions", body)
    assert answer.status == 200
    assert 0 < len(answer.header("x-carousel-dropped") or "") <= 1024


async def test_plain_headers_reach_the_upstream(server: Gateway, claude: Simulator) -> None:
    """Protects betas and versions from a check that refuses too much."""
    headers = {"anthropic-beta": "context-1m-2025-08-07, other-beta", "anthropic-version": "2023-06-01"}
    answer = await ask(server.url, "/v1/messages", messages_body(), headers=headers)
    assert answer.status == 200
    received = claude.record.requests[-1]
    assert received.header("anthropic-beta") == headers["anthropic-beta"]
    assert received.header("anthropic-version") == headers["anthropic-version"]


async def test_nothing_else_of_the_clients_headers_reaches_the_upstream(
    server: Gateway, claude: Simulator
) -> None:
    """Protects a client's cookies, keys and addresses from the upstream, and the upstream from its tricks."""
    extra = {
        "cookie": "a=b",
        "x-forwarded-for": "10.0.0.1",
        "user-agent": "curl/8",
        "x-stainless-lang": "python",
        "anthropic-dangerous-direct-browser-access": "true",
        "accept-encoding": "gzip",
        "origin": "http://localhost",
        "referer": "http://localhost",
        "x-request-id": "mine",
    }
    assert (await ask(server.url, "/v1/messages", messages_body(), headers=extra)).status == 200
    names = {name for name, _ in claude.record.requests[-1].headers}
    assert names == {
        "host",
        "user-agent",
        "accept",
        "content-type",
        "content-length",
        "accept-encoding",
        "anthropic-version",
        "x-api-key",
    }
    assert claude.record.requests[-1].header("user-agent") == f"carousel/{__version__}"
    assert claude.record.requests[-1].header("accept-encoding") == "identity"
