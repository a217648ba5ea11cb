"""Messages in, Messages out: bytes pass as they are, and headers only where they belong."""

from collections.abc import AsyncIterator

import msgspec
import pytest
import pytest_asyncio

from proxy import __version__
from proxy.simulator import Received, Step
from tests.support.canaries.marks import secret
from tests.support.house import House, Spoken, house
from tests.support.recordings import RECORDINGS

pytestmark = pytest.mark.asyncio(loop_scope="module")

ODD_JSON = (
    b'{ "type":"message","id" : "msg_1",\t"role":"assistant","model":"claude-sonnet-5-5", "content":[\r\n'
    b'  {"type":"text","text":"\\u00e9 \xc3\xa9 \\ud83d\\ude00 \\/","new_field":[1.0,1e2]},'
    b'{"type":"hologram","voxels":{}}],"stop_reason":"end_turn","stop_reason":"end_turn",\n'
    b'"usage":{"input_tokens":1,"output_tokens":2,"photons":3},"verdict":null }\n'
)
ODD_STREAM = (
    b": a comment\r\n\r\n"
    b"retry: 100\r\nid: 7\r\n\r\n"
    b"event: message_start\r\n"
    b'data: {"type":"message_start","message":{"id":"msg_1","usage":{"input_tokens":1}}}\r\n\r\n'
    b'event: aurora\r\ndata: {"type":"aurora", "x": "\xe2\x80\xa8"}\r\n\r\n'
    b'event:ping\r\ndata:{"type":"ping"}\r\n\r\n'
    b": another comment\r\n"
    b"event: content_block_start\r\n"
    b'data: {"type":"content_block_start","index":0,"content_block":{"type":"hologram"}}\r\n\r\n'
    b'event: content_block_stop\r\ndata: {"type":"content_block_stop",\r\ndata: "index":0}\r\n\r\n'
    b"event: message_delta\r\n"
    b'data: {"type":"message_delta","delta":{"stop_reason":"odd"},"usage":{"output_tokens":1}}\r\n\r\n'
    b'event: message_stop\r\ndata: {"type":"message_stop","extra":true}\r\n\r\n'
)
ODD_REQUEST = (
    b'{  "messages" :[{"content":"caf\\u00e9 \\/ \xc3\xa9 \\ud83d\\ude00","role":"user","mood":null}],\n'
    b'\t"temperature":1.0,"max_tokens":1,"stream":%b,"model":"claude-sonnet-5-5","max_tokens":  20,'
    b'"x_new":{"b":1,"a":[1E2, 1.50]}}\r\n'
)
ALIASED_REQUEST = (
    b'{  "messages" :[{"content":"model \\u00e9 \xc3\xa9 \\"model\\": \\"sonnet\\"","role":"user","model":"sonnet"}],\n'
    b'"max_tokens":20,"model":%b,"x_new":{"b":1,"a":[1E2, 1.50]}}'
)
TELLING = {
    "anthropic-organization-id": "org-secret",
    "anthropic-workspace-id": "ws-secret",
    "anthropic-ratelimit-requests-remaining": "7",
    "anthropic-ratelimit-unified-reset": "1795000000",
    "cf-ray": "abc",
    "retry-after": "3",
    "server": "cloudflare",
    "set-cookie": "session=secret; Path=/",
    "via": "1.1 secret",
    "x-should-retry": "true",
}
FROM_UPSTREAM = {
    "request-id",
    "x-request-id",
    "x-carousel-upstream-request-id",
    "x-carousel-credential",
    "x-carousel-attempts",
    "x-carousel-cache",
    "content-type",
    "date",
    "server",
}


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def verbatim_house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    """One process with one key."""
    async with house(tmp_path_factory.mktemp("verbatim"), keys=("k1",)) as running:
        yield running


@pytest.fixture
def running(verbatim_house: House) -> House:
    """The same without a memory of what was asked."""
    verbatim_house.simulator.reset()
    return verbatim_house


def _last(running: House) -> Received:
    return running.simulator.record.requests[-1]


async def test_a_whole_answer_passes_byte_for_byte(running: House) -> None:
    """White space, escapes, unknown fields and blocks, and doubled keys reach the client as they were sent."""
    running.simulator.script(
        "k1", [Step("raw", headers={"content-type": "application/json"}, body_bytes=ODD_JSON)]
    )
    answer = await running.ask(Spoken.MESSAGES)
    assert (answer.status, answer.body) == (200, ODD_JSON)


@pytest.mark.parametrize("framing", ["chunked", "close"])
async def test_an_odd_stream_passes_byte_for_byte(running: House, framing: str) -> None:
    """Comments, CR LF, unknown events, missing blanks and data in several lines are the client's to read."""
    step = Step("slice", stream_body=ODD_STREAM, sizes=(97,), close_delimited=framing == "close")
    running.simulator.script("k1", [step])
    answer = await running.ask(Spoken.MESSAGES, stream=True)
    assert (answer.status, answer.body) == (200, ODD_STREAM)


@pytest.mark.parametrize("name", RECORDINGS)
async def test_documented_streams_pass_byte_for_byte(running: House, name: str) -> None:
    """Every kind of stream there is a sample of is handed on unchanged, an error event of the upstream included."""
    recording = RECORDINGS[name]
    running.simulator.script("k1", [Step(stream_body=recording)])
    answer = await running.ask(Spoken.MESSAGES, stream=True)
    assert (answer.status, answer.body) == (200, recording)
    assert answer.broken_off is (name == "error_mid_stream")


@pytest.mark.parametrize("stream", [False, True])
async def test_a_request_reaches_the_upstream_byte_for_byte(running: House, *, stream: bool) -> None:
    """Order, white space, escapes, doubled keys and unknown fields are kept, and so is the cached prefix."""
    body = ODD_REQUEST % (b"true" if stream else b"false")
    running.simulator.script("k1", [Step("status", status=400)])
    await running.send(Spoken.MESSAGES, body)
    assert _last(running).body == body


@pytest.mark.parametrize(
    ("alias", "model"),
    [
        ("sonnet", "claude-sonnet-5-5"),
        ("claude-3-opus-20240229", "claude-opus-5-5"),
        ("haiku", "claude-haiku-5-5"),
    ],
)
async def test_an_alias_changes_the_model_and_nothing_else(running: House, alias: str, model: str) -> None:
    """All other bytes of the request stay, also where they spell the alias."""
    await running.send(Spoken.MESSAGES, ALIASED_REQUEST % msgspec.json.encode(alias))
    received = _parts(_last(running).body)
    sent = _parts(ALIASED_REQUEST % msgspec.json.encode(alias))
    assert list(received) == list(sent)
    assert bytes(received.pop("model")) == msgspec.json.encode(model)
    sent.pop("model")
    assert {name: bytes(raw) for name, raw in received.items()} == {
        name: bytes(raw) for name, raw in sent.items()
    }


def _parts(body: bytes) -> dict[str, msgspec.Raw]:
    return msgspec.json.decode(body, type=dict[str, msgspec.Raw])


async def test_fields_of_our_own_never_reach_the_upstream(running: House) -> None:
    """They are taken out, the client is told, and what is around them stays."""
    body = (
        b'{"session_id":"s","max_tokens":5,"model":"claude-sonnet-5-5",'
        b'"messages":[{"role":"user","content":"\\u00e9"}],"project_id":1}'
    )
    answer = await running.send(Spoken.MESSAGES, body)
    assert answer.headers["x-carousel-dropped"] == "project_id, session_id"
    assert list(_parts(_last(running).body)) == ["max_tokens", "model", "messages"]
    assert b'[{"role":"user","content":"\\u00e9"}]' in _last(running).body


@pytest.mark.parametrize("spoken", Spoken)
@pytest.mark.parametrize("stream", [False, True])
async def test_no_header_of_a_client_goes_upstream_unasked(
    running: House, spoken: Spoken, *, stream: bool
) -> None:
    """The upstream sees our credential and its own protocol's headers; nothing that tells who asked."""
    headers = {
        "x-forwarded-for": "198.51.100.7",
        "forwarded": "for=198.51.100.7",
        "cookie": "session=secret",
        "user-agent": "Anthropic/Python 2.11.0",
        "x-stainless-lang": "python",
        "x-stainless-retry-count": "1",
        "anthropic-dangerous-direct-browser-access": "true",
        "x-request-id": "mine",
        "referer": "https://example.com",
        "origin": "https://example.com",
        "accept": "application/json",
        "accept-encoding": "gzip",
        "idempotency-key": "once",
    }
    async with running.opened(spoken, _body(spoken, stream=stream), headers=headers) as response:
        await response.read()
        assert response.status == 200
    received = _last(running)
    ours = {"host", "user-agent", "accept", "accept-encoding", "content-type", "content-length"}
    assert {name for name, _ in received.headers} == {*ours, "anthropic-version", "x-api-key"}
    assert received.header("user-agent") == f"carousel/{__version__}"
    assert received.header("accept") == "*/*"
    assert received.header("x-api-key") == secret("k1")
    assert received.header("accept-encoding") == "identity"
    assert received.header("anthropic-version") == "2023-06-01"


def _body(spoken: Spoken, *, stream: bool) -> bytes:
    limit = {"max_tokens": 9} if spoken is Spoken.MESSAGES else {}
    messages = [{"role": "user", "content": "Hi"}]
    return msgspec.json.encode(
        {"model": "claude-sonnet-5-5", "stream": stream, "messages": messages, **limit}
    )


async def test_version_and_betas_of_a_messages_client_go_upstream(running: House) -> None:
    """They decide what the API answers, and several betas stay several."""
    headers = {
        "anthropic-version": "2026-10-21",
        "anthropic-beta": "context-1m-2025-08-07,files-api-2025-04-14",
    }
    await running.send(Spoken.MESSAGES, _body(Spoken.MESSAGES, stream=False), headers=headers)
    received = _last(running)
    assert received.header("anthropic-version") == headers["anthropic-version"]
    assert received.header("anthropic-beta") == headers["anthropic-beta"]


@pytest.mark.parametrize("spoken", Spoken)
@pytest.mark.parametrize("stream", [False, True])
async def test_no_header_of_the_upstream_reaches_the_client(
    running: House, spoken: Spoken, *, stream: bool
) -> None:
    """Whose organization it is, what is left of one key's limits, and cookies stay on our side."""
    running.simulator.script("k1", [Step(headers=TELLING)])
    answer = await running.send(spoken, _body(spoken, stream=stream))
    assert answer.status == 200
    names = {name.lower() for name in answer.headers}
    framing = {"transfer-encoding", "cache-control", "x-accel-buffering"} if stream else {"content-length"}
    own = {"request-id"} if spoken is Spoken.MESSAGES else set()
    assert names == (FROM_UPSTREAM - {"request-id"}) | own | framing
    assert "secret" not in str(answer.headers)
    assert "cloudflare" not in answer.headers["server"]
    upstream_id = answer.headers["x-carousel-upstream-request-id"]
    assert upstream_id.startswith("req_sim_")
    assert answer.headers["x-request-id"] != upstream_id
    if spoken is Spoken.MESSAGES:
        assert answer.headers["request-id"] == answer.headers["x-request-id"]


@pytest.mark.parametrize("spoken", Spoken)
async def test_an_error_shows_no_header_of_the_upstream(running: House, spoken: Spoken) -> None:
    """The same for a refused request, whose own words are passed on."""
    step = Step("status", status=400, message="no", headers={**TELLING, "content-type": "application/json"})
    running.simulator.script("k1", [step])
    answer = await running.ask(spoken)
    assert (answer.status, answer.error.error.message) == (400, "no")
    assert not {name.lower() for name in answer.headers} & (set(TELLING) - {"server"})
    assert "secret" not in str(answer.headers)
