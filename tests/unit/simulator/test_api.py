"""Paths and their answers, without a socket."""

import msgspec
import pytest

from proxy.simulator.api import Api, Reply, Request, key_of, replayed
from proxy.simulator.limits import AnswerHeaders
from proxy.simulator.script import Insert, Step
from tests.support.clock import FakeClock
from tests.unit.simulator.client import MODEL, event_data, event_names, question

_VERSION = {"anthropic-version": "2023-06-01"}
_MARK = {"type": "ephemeral"}


def _api(*, prefix: str = "", strict_thinking: bool = False) -> Api:
    clock = FakeClock()
    headers = AnswerHeaders(clock, lambda key: key[0])
    return Api(headers, clock, prefix=prefix, seed=0, strict_thinking=strict_thinking)


def _reply(
    api: Api,
    body: object = None,
    *,
    method: str = "POST",
    target: str = "/v1/messages",
    key: str = "k",
    step: Step | None = None,
    whole: bool = False,
) -> Reply:
    path, _, query = target.partition("?")
    data = b"" if body is None else msgspec.json.encode(body)
    request = Request(method, path, query, _VERSION, data, key, "req_1")
    return api.reply(request, events=None, step=step, whole=whole)


def _json(reply: Reply) -> dict[str, object]:
    return msgspec.json.decode(b"".join(reply.frames), type=dict[str, object])


def _error(reply: Reply) -> tuple[int, str, str]:
    error = msgspec.convert(_json(reply)["error"], dict[str, str])
    return reply.status, error["type"], error["message"]


@pytest.mark.parametrize(
    ("headers", "key"),
    [
        ({"x-api-key": "a"}, "a"),
        ({"authorization": "Bearer b"}, "b"),
        ({"authorization": "bearer b"}, "b"),
        ({"x-api-key": "a", "authorization": "Bearer b"}, "a"),
        ({"authorization": "Basic b"}, ""),
        ({}, ""),
    ],
)
def test_a_key_comes_in_one_of_two_headers(headers: dict[str, str], key: str) -> None:
    """The SDKs use both."""
    assert key_of(headers) == key


@pytest.mark.parametrize(
    ("method", "target", "key", "error"),
    [
        ("POST", "/v1/messages", "", (401, "authentication_error", "x-api-key header is required")),
        ("GET", "/v1/nothing", "", (401, "authentication_error", "x-api-key header is required")),
        ("GET", "/v1/nothing", "k", (404, "not_found_error", "Not Found")),
        ("GET", "/v1/messages", "k", (404, "not_found_error", "Not Found")),
        ("GET", "/v1/models/gpt-5", "k", (404, "not_found_error", "model: gpt-5")),
        (
            "GET",
            "/v1/models?limit=0",
            "k",
            (400, "invalid_request_error", "limit: Input should be between 1 and 1000"),
        ),
    ],
)
def test_errors_come_in_the_envelope(method: str, target: str, key: str, error: tuple[int, str, str]) -> None:
    """With the id of the answer."""
    reply = _reply(_api(), method=method, target=target, key=key)
    assert _error(reply) == error
    assert _json(reply)["request_id"] == "req_1"


def test_hello_needs_no_key() -> None:
    """Clients probe it before anything else."""
    for method in ("GET", "HEAD"):
        assert _reply(_api(), method=method, target="/api/hello", key="").status == 200


def test_models_are_listed_and_described() -> None:
    """Aliases resolve."""
    listed = _json(_reply(_api(), method="GET", target="/v1/models?limit=1000"))
    assert listed["has_more"] is False
    assert (
        _json(_reply(_api(), method="GET", target="/v1/models/claude-opus-4-5"))["id"]
        == "claude-opus-4-5-20251101"
    )


def test_tokens_are_counted_as_an_answer_would_report_them() -> None:
    """Both use one estimate."""
    messages = [{"role": "user", "content": "x" * 400}]
    counted = _json(
        _reply(_api(), {"model": MODEL, "messages": messages}, target="/v1/messages/count_tokens?beta=true")
    )
    usage = msgspec.convert(_json(_reply(_api(), question(messages=messages)))["usage"], dict[str, object])
    assert counted == {"input_tokens": 100}
    assert usage["input_tokens"] == 100


@pytest.mark.parametrize("stream", [False, True])
def test_the_same_question_gets_the_same_answer_under_a_new_id(*, stream: bool) -> None:
    """Also where the first answer is remembered."""
    api = _api()
    body = question(stream=stream)
    replies = [_reply(api, body, whole=whole) for whole in (True, True, False)]
    texts = [b"".join(reply.frames) for reply in replies]
    ids = [b"msg_01sim" + b"%019d" % number for number in (1, 2, 3)]
    assert all(one_id in text for one_id, text in zip(ids, texts, strict=True))
    assert len({text.replace(one_id, b"ID") for one_id, text in zip(ids, texts, strict=True)}) == 1
    assert {(reply.content_type, reply.streamed, reply.tokens) for reply in replies} == {
        ("text/event-stream; charset=utf-8" if stream else "application/json", stream, replies[0].tokens)
    }


def test_a_remembered_answer_is_not_given_to_a_wrong_request() -> None:
    """The version header is part of what is remembered."""
    api = _api()
    _reply(api, question(), whole=True)
    request = Request("POST", "/v1/messages", "", {}, msgspec.json.encode(question()), "k", "req_1")
    assert api.reply(request, events=None, step=None, whole=True).status == 400


def test_caches_belong_to_organizations() -> None:
    """Keys of one organization share theirs; nothing marked is answered from memory."""
    api = _api()
    body = question("x" * 400, cache_control=_MARK)

    def read(key: str) -> object:
        usage = msgspec.convert(_json(_reply(api, body, key=key, whole=True))["usage"], dict[str, object])
        return usage["cache_read_input_tokens"], usage["cache_creation_input_tokens"], usage["input_tokens"]

    assert [read(key) for key in ("a1", "a2", "b1")] == [(0, 100, 0), (100, 0, 0), (0, 100, 0)]


def _thinking_turn(api: Api, key: str) -> tuple[dict[str, object], list[object]]:
    body = question(thinking={"type": "adaptive"})
    content = msgspec.convert(_json(_reply(api, body, key=key))["content"], list[object])
    return body, content


@pytest.mark.parametrize(("first", "status"), [("Hello", 200), ("Hello!", 400)])
def test_thinking_after_an_edited_conversation_is_refused_when_strict(first: str, status: int) -> None:
    """A gateway must not touch what thinking is bound to."""
    api = _api(strict_thinking=True)
    body, content = _thinking_turn(api, "k")
    turns = [
        {"role": "user", "content": first},
        {"role": "assistant", "content": content},
        {"role": "user", "content": "again"},
    ]
    reply = _reply(api, body | {"messages": turns})
    assert reply.status == status
    if status == 400:
        assert _error(reply)[2] == (
            "messages.1.content.0: Invalid `signature` in `thinking` block. "
            "The block is bound to a different conversation."
        )
        assert _reply(_api(), body | {"messages": turns}).status == 200


@pytest.mark.parametrize("target", ["/v1/messages", "/v1/messages/count_tokens"])
@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({}, 200),
        ({"thinking": "I thought otherwise."}, 400),
        ({"signature": "sim." + "A" * 66 + "=="}, 400),
        ({"signature": "gw1.made-elsewhere"}, 400),
    ],
)
def test_thinking_that_was_changed_or_made_elsewhere_is_refused(
    change: dict[str, object], status: int, target: str
) -> None:
    """Strict or not: a signature belongs to its text and to who made it."""
    api = _api()
    body = question(thinking={"type": "adaptive", "display": "summarized"})
    content = msgspec.convert(_json(_reply(api, body))["content"], list[dict[str, object]])
    assert content[0]["thinking"]
    spoken = {"role": "assistant", "content": [content[0] | change, *content[1:]]}
    asked = body | {
        "messages": [{"role": "user", "content": "Other"}, spoken, {"role": "user", "content": "?"}]
    }
    if target.endswith("count_tokens"):
        del asked["max_tokens"]
    reply = _reply(api, asked, target=target)
    assert reply.status == status
    if status == 400:
        assert _error(reply)[2] == "messages.1.content.0: Invalid `signature` in `thinking` block"


def test_a_step_changes_the_answer() -> None:
    """Text, usage, stop reason and fields nobody knows."""
    step = Step(
        text="mine",
        usage={"input_tokens": 5},
        stop_reason="novel",
        fields={"message": {"novelty": 1}, "ping": {"novelty": 2}},
    )
    answer = _json(_reply(_api(prefix="> "), question(), step=step))
    assert answer["content"] == [{"type": "text", "text": "> mine"}]
    assert (answer["stop_reason"], answer["novelty"]) == ("novel", 1)
    assert msgspec.convert(answer["usage"], dict[str, object])["input_tokens"] == 5


def test_a_step_changes_the_events_of_a_stream() -> None:
    """Raw bytes go before the event they name; usage appears where the API has it."""
    step = Step(
        usage={"input_tokens": 5, "output_tokens": 6},
        fields={"message_stop": {"novelty": 1}},
        insert=(Insert(0, ": early\n\n"), Insert(2, "event: novel\ndata: {}\n\n"), Insert(99, ": late\n\n")),
    )
    body = b"".join(_reply(_api(), question(stream=True), step=step).frames)
    assert body.startswith(b": early\n\nevent: message_start\n")
    assert body.endswith(b'{"type":"message_stop","novelty":1}\n\n: late\n\n')
    assert event_names(body)[:3] == ["message_start", "content_block_start", "novel"]
    started, ended = event_data(body)[0], event_data(body)[-2]
    assert '"input_tokens":5' in msgspec.json.encode(started).decode()
    assert '"output_tokens":1' in msgspec.json.encode(started).decode()
    assert '"output_tokens":6' in msgspec.json.encode(ended).decode()


def test_a_recording_is_replayed_byte_for_byte() -> None:
    """Cut after blank lines, so that faults can come between its events."""
    recording = b"event: a\ndata: 1\n\nevent: b\ndata: 2\n\nhalf"
    reply = replayed(recording)
    assert reply.frames == [b"event: a\ndata: 1\n\n", b"event: b\ndata: 2\n\n", b"half"]
    assert b"".join(replayed(recording[:-4]).frames) == recording[:-4]
