"""Whatever a body holds, the answer is an error in the right envelope and never a failure of ours."""

import asyncio

import pytest

from proxy.simulator import Simulator
from tests.security.hostile_bodies import (
    NO_JSON,
    NO_UTF8,
    PATHS,
    WRONG_FIELDS,
    WRONG_FIELDS_IN_CHAT,
    check_refused,
)
from tests.security.wire import MODEL, ask, chat_body, messages_body
from tests.support.gateway import Gateway

pytestmark = pytest.mark.asyncio(loop_scope="module")

_BODIES = {
    "/v1/messages": messages_body,
    "/v1/chat/completions": chat_body,
    # counting takes no limit of tokens, and the smallest Chat Completions body happens to be all it needs
    "/v1/messages/count_tokens": chat_body,
}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("body", NO_JSON.values(), ids=NO_JSON.keys())
async def test_a_body_that_is_no_json_object_is_refused_in_the_dialects_envelope(
    server: Gateway, claude: Simulator, path: str, body: bytes
) -> None:
    """Protects the server from every way a body can be broken, and clients from an answer they cannot read."""
    check_refused(await ask(server.url, path, body), path)
    assert claude.record.requests_total == 0


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("body", NO_UTF8.values(), ids=NO_UTF8.keys())
async def test_text_that_is_no_utf_8_is_refused_by_us_or_by_the_upstream(
    server: Gateway, path: str, body: bytes
) -> None:
    """Protects clients from a failure of ours: text that is not looked at is refused where it is read."""
    check_refused(await ask(server.url, path, body), path)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("body", WRONG_FIELDS.values(), ids=WRONG_FIELDS.keys())
async def test_a_field_that_routing_needs_must_have_its_type(
    server: Gateway, claude: Simulator, path: str, body: bytes
) -> None:
    """Protects the choice of a credential from values it cannot understand."""
    check_refused(await ask(server.url, path, body), path)
    assert claude.record.requests_total == 0


@pytest.mark.parametrize("body", WRONG_FIELDS_IN_CHAT.values(), ids=WRONG_FIELDS_IN_CHAT.keys())
@pytest.mark.parametrize("stream", [b"", b'"stream":true,'], ids=["whole", "streamed"])
async def test_a_field_that_is_translated_must_have_its_type(
    server: Gateway, claude: Simulator, body: bytes, stream: bytes
) -> None:
    """Protects translation from values it cannot understand."""
    answer = await ask(server.url, "/v1/chat/completions", b"{" + stream + body[1:])
    check_refused(answer, "/v1/chat/completions")
    assert claude.record.requests_total == 0


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/chat/completions"])
async def test_of_a_field_given_twice_ours_and_the_upstreams_reading_is_the_same(
    server: Gateway, claude: Simulator, path: str
) -> None:
    """Protects a rule about the model from a body that shows us one and the upstream another."""
    body = messages_body() if path == "/v1/messages" else chat_body()
    answer = await ask(server.url, path, b'{"model":"claude-opus-5-5",' + body[1:])
    assert answer.status == 200
    assert MODEL.encode() in answer.body
    assert b"claude-opus-5-5" not in answer.body
    assert claude.record.requests_total == 1


@pytest.mark.parametrize("path", PATHS)
async def test_ten_thousand_messages_are_served_and_do_not_stop_the_others(
    server: Gateway, path: str
) -> None:
    """Protects long conversations, and the clients beside them."""
    turns = [{"role": ("user", "assistant")[number % 2], "content": "x"} for number in range(9_999)]
    body = _BODIES[path]
    long = ask(server.url, path, body(messages=turns))
    answers = await asyncio.gather(long, *(ask(server.url, "/live", method="GET") for _ in range(5)))
    assert [answer.status for answer in answers] == [200] * 6


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "fields",
    [
        {"content": "x" * 1_000_000},
        {"content": "\0\x01\x7f\u2028\ufeff\U0010ffff"},
        {"content": "a" + "\u0301" * 10_000},
    ],
    ids=["1 MB of text", "odd characters", "ten thousand accents"],
)
async def test_odd_but_sound_text_is_served(server: Gateway, path: str, fields: dict[str, str]) -> None:
    """Protects texts nobody expected, which are still texts."""
    body = _BODIES[path]
    answer = await ask(server.url, path, body(messages=[{"role": "user", **fields}]))
    assert answer.status == 200


@pytest.mark.parametrize("path", PATHS)
async def test_a_hundred_thousand_unknown_fields_are_no_failure(server: Gateway, path: str) -> None:
    """Protects the server from objects that are wide instead of deep."""
    body = _BODIES[path]
    answer = await ask(server.url, path, body("Hello", **{f"f{number}": number for number in range(100_000)}))
    assert answer.status == (200 if path == "/v1/chat/completions" else 400)


async def test_no_attack_of_this_module_was_an_error_of_ours(server: Gateway) -> None:
    """Protects the last stop before the client: nothing above may have reached it."""
    await ask(server.url, "/live", method="GET")
    assert not [line for line in server.output if "unexpected error" in line or "Traceback" in line]
