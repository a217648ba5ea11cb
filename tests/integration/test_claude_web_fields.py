"""What becomes of each field of a request at a claude.ai session: carried, kept to here, dropped by name or refused."""

import base64
from collections.abc import AsyncIterator, Mapping
from typing import Final

import msgspec
import pytest
import pytest_asyncio

from proxy.simulator.multipart import file_part
from proxy.simulator.web_wire import CompletionBody
from tests.support.house import MODEL, Answer, House, Spoken, body_of, house
from tests.support.web_sessions import COOKIES, sessions

pytestmark = pytest.mark.asyncio(loop_scope="module")

_CHAT, _MESSAGES = Spoken.CHAT, Spoken.MESSAGES
_FUNCTION: Final = {"name": "f", "parameters": {"type": "object"}}
_SCHEMA: Final = {"type": "object", "properties": {}, "additionalProperties": False}


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    """A gateway of one session."""
    async with house(tmp_path_factory.mktemp("fields"), credentials=sessions(COOKIES[0])) as found:
        yield found


async def _ask(
    found: House, spoken: Spoken, fields: Mapping[str, object] | None = None, *, stream: bool = False
) -> Answer:
    plain = msgspec.json.decode(body_of(spoken, stream=stream), type=dict[str, object])
    return await found.send(spoken, msgspec.json.encode({**plain, **(fields or {})}))


def _question(found: House) -> CompletionBody:
    """The newest question the site was asked."""
    asked = [one for one in found.simulator.record.requests if one.path.endswith("/completion")]
    return msgspec.json.decode(asked[-1].body, type=CompletionBody)


def _turn(*content: object) -> list[dict[str, object]]:
    return [{"role": "user", "content": list(content)}]


@pytest.mark.parametrize(
    ("spoken", "fields", "named", "says"),
    [
        (_CHAT, {"n": 2}, "n", "Only one choice"),
        (_CHAT, {"tools": [{"type": "function", "function": _FUNCTION}]}, "tools", "cannot call tools"),
        (_CHAT, {"functions": [_FUNCTION]}, "tools", "cannot call tools"),
        (
            _CHAT,
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "a", "strict": True, "schema": _SCHEMA},
                }
            },
            "response_format",
            "cannot follow a schema",
        ),
        (_CHAT, {"stop": ["x" * 1001]}, "stop", "more than 1000 characters"),
        (_CHAT, {"modalities": ["text", "audio"], "audio": {"voice": "a"}}, "modalities", "Audio"),
        (_CHAT, {"web_search_options": {}}, "web_search_options", "Web search"),
        (
            _CHAT,
            {"messages": _turn({"type": "file", "file": {"file_id": "file_011CNha8iCJcU1wXNR6q4V8w"}})},
            "messages",
            "only as data",
        ),
        (_MESSAGES, {"tools": [{"name": "f", "input_schema": _SCHEMA}]}, "tools", "cannot call tools"),
        (
            _MESSAGES,
            {"mcp_servers": [{"type": "url", "url": "https://a.test", "name": "a"}]},
            "mcp_servers",
            "cannot call tools of MCP servers",
        ),
        (
            _MESSAGES,
            {"output_config": {"format": {"type": "json_schema", "schema": _SCHEMA}}},
            "output_config.format",
            "cannot follow a schema",
        ),
        (_MESSAGES, {"stop_sequences": ["x"] * 65}, "stop_sequences", "more than 64"),
        (
            _MESSAGES,
            {"messages": _turn({"type": "document", "source": {"type": "file", "file_id": "file_1"}})},
            "messages[0].content[0].source.type",
            "only as data",
        ),
    ],
)
async def test_what_would_change_the_answer_is_refused_in_words(
    running: House, spoken: Spoken, fields: dict[str, object], named: str, says: str
) -> None:
    """Protects clients from an answer to something else: a person reads which field it was, and why."""
    before = running.calls()
    answer = await _ask(running, spoken, fields)
    told = answer.error.error
    assert (answer.status, told.type) == (400, "invalid_request_error")
    assert says in told.message
    assert named == told.param if spoken is _CHAT else told.message.startswith(f"{named}: ")
    assert running.calls() == before


@pytest.mark.parametrize(
    ("spoken", "fields", "named"),
    [
        (_CHAT, {"temperature": 0.3, "top_p": 0.9}, "temperature, top_p"),
        (_CHAT, {"seed": 3, "logit_bias": {"1": 3}}, "logit_bias, seed"),
        (_CHAT, {"user": "somebody"}, "user"),
        (_CHAT, {"mcp_servers": [{"name": "a"}]}, "mcp_servers"),
        (_CHAT, {"reasoning_effort": "xhigh"}, "reasoning_effort"),
        (
            _CHAT,
            {"tools": [{"type": "function", "function": _FUNCTION}], "tool_choice": "none"},
            "tools",
        ),
        (_MESSAGES, {"temperature": 0.3, "top_k": 5}, "temperature, top_k"),
        (
            _MESSAGES,
            {"metadata": {"user_id": "somebody"}, "service_tier": "auto"},
            "metadata, service_tier",
        ),
        (
            _MESSAGES,
            {"thinking": {"type": "enabled", "budget_tokens": 1024}, "max_tokens": 4000},
            "thinking.budget_tokens",
        ),
        (_MESSAGES, {"output_config": {"effort": "max"}}, "output_config.effort"),
        (_MESSAGES, {"mcp_servers": []}, "mcp_servers"),
    ],
)
async def test_what_only_tunes_an_answer_is_dropped_by_the_name_its_client_gave_it(
    running: House, spoken: Spoken, fields: dict[str, object], named: str
) -> None:
    """Protects clients of either dialect from silent losses, and from names they never wrote."""
    answer = await _ask(running, spoken, fields)
    assert (answer.status, answer.headers.get("x-carousel-dropped")) == (200, named)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("spoken", "fields", "mode", "effort"),
    [
        (_CHAT, {}, "off", None),
        (_CHAT, {"model": f"{MODEL}-think"}, "extended", None),
        (_CHAT, {"reasoning_effort": "none"}, "off", None),
        (_CHAT, {"reasoning_effort": "low"}, "extended", "low"),
        (_CHAT, {"reasoning_effort": "high"}, "extended", "high"),
        (_CHAT, {"reasoning": {"effort": "medium"}}, "extended", "medium"),
        (_MESSAGES, {}, "off", None),
        (_MESSAGES, {"model": f"{MODEL}-think"}, "extended", None),
        (_MESSAGES, {"thinking": {"type": "adaptive"}}, "extended", None),
        (_MESSAGES, {"thinking": {"type": "enabled", "budget_tokens": 1024}}, "extended", None),
        (_MESSAGES, {"thinking": {"type": "disabled"}}, "off", None),
        (
            _MESSAGES,
            {"thinking": {"type": "adaptive"}, "output_config": {"effort": "low"}},
            "extended",
            "low",
        ),
    ],
)
async def test_thinking_is_asked_for_in_the_question_and_never_set_on_the_account(
    running: House, spoken: Spoken, fields: dict[str, object], mode: str, effort: str | None, *, stream: bool
) -> None:
    """Protects a person's own settings, and thinking in every way a client may ask for it."""
    before = len(running.simulator.record.requests)
    answer = await _ask(running, spoken, {"max_tokens": 4000, **fields}, stream=stream)
    assert answer.status == 200
    asked = _question(running)
    assert (asked.thinking_mode, asked.effort) == (mode, effort)
    made = running.simulator.record.requests[before:]
    assert not any(one.path.endswith("/account") or one.method == "PUT" for one in made)
    assert running.simulator.site.ledger.account_changes == 0


@pytest.mark.parametrize("spoken", Spoken)
async def test_an_account_that_may_not_choose_is_asked_without_a_model(
    tmp_path_factory: pytest.TempPathFactory, spoken: Spoken
) -> None:
    """Protects accounts that pay nothing: the site would refuse the very question."""
    folder = tmp_path_factory.mktemp("free")
    async with house(folder, credentials=sessions(COOKIES[0])) as found:
        found.simulator.site.free.add(COOKIES[0])
        assert (await _ask(found, spoken)).status == 200
        assert _question(found).model is None
        (made,) = found.simulator.site.ledger.conversations.values()
        assert made.model is None


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("spoken", "fields", "shown", "reason"),
    [
        (_CHAT, {"stop": ["said"]}, "You ", "stop"),
        (_CHAT, {"max_tokens": 2}, "You said", "length"),
        (_CHAT, {"max_completion_tokens": 2}, "You said", "length"),
        (_MESSAGES, {"stop_sequences": ["said"]}, "You ", "stop_sequence"),
        (_MESSAGES, {"max_tokens": 2}, "You said", "max_tokens"),
    ],
)
async def test_an_answer_is_cut_where_the_request_says(
    running: House, spoken: Spoken, fields: dict[str, object], shown: str, reason: str, *, stream: bool
) -> None:
    """Protects limits the site does not know: the text ends there, and says why."""
    answer = await _ask(running, spoken, fields, stream=stream)
    assert (answer.status, answer.broken_off) == (200, False)
    pieces = _pieces(answer)
    assert [one for piece in pieces for one in piece.reasons()] == [reason]
    assert "".join(piece.said() for piece in pieces) == shown


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("spoken", Spoken)
async def test_usage_is_an_estimate_and_says_so(running: House, spoken: Spoken, *, stream: bool) -> None:
    """Protects whoever adds tokens up: the site tells none, and a guess is not passed for a count."""
    options = {"stream_options": {"include_usage": True}} if stream and spoken is _CHAT else {}
    answer = await _ask(running, spoken, options, stream=stream)
    told = [usage for piece in _pieces(answer) for usage in piece.usages()]
    assert told
    assert {usage.estimated for usage in told} == {True}


@pytest.mark.parametrize("spoken", Spoken)
async def test_texts_travel_inside_the_question_and_pdfs_are_uploaded(running: House, spoken: Spoken) -> None:
    """Protects documents of either sort, whole and by their names."""
    text, pdf = "Grüße\n", b"%PDF-1.4\n\x00\xff"
    content = [_document(spoken, "a.txt", "text/plain", text.encode())]
    content.append(_document(spoken, "b.pdf", "application/pdf", pdf))
    assert (await _ask(running, spoken, {"messages": _turn(*content)})).status == 200
    asked = _question(running)
    ((name, size_bytes, extracted),) = (
        (one.file_name, one.file_size, one.extracted_content) for one in asked.attachments
    )
    assert (name, size_bytes, extracted) == ("a.txt", len(text.encode()), text)
    (sent,) = [one for one in running.simulator.record.requests if one.path.endswith("/upload")][-1:]
    part = file_part(sent.header("content-type") or "", sent.body)
    assert part is not None
    assert (part.name, part.media_type, part.content) == ("b.pdf", "application/pdf", pdf)
    assert asked.files == [running.simulator.site.ledger.files[asked.files[0]].uuid]


def _document(spoken: Spoken, name: str, media_type: str, content: bytes) -> dict[str, object]:
    data = base64.b64encode(content).decode()
    if spoken is _CHAT:
        file = {"filename": name, "file_data": f"data:{media_type};base64,{data}"}
        return {"type": "file", "file": file}
    source: dict[str, object] = {"type": "base64", "media_type": media_type, "data": data}
    if media_type == "text/plain":
        source = {"type": "text", "media_type": media_type, "data": content.decode()}
    return {"type": "document", "title": name, "source": source}


class _Usage(msgspec.Struct):
    estimated: bool = False


class _Piece(msgspec.Struct):
    """A part of an answer that holds text, in any of its forms."""

    content: str | list["_Piece"] | None = None
    text: str | None = None
    delta: "_Piece | None" = None
    message: "_Piece | None" = None
    choices: list["_Piece"] = []
    finish_reason: str | None = None
    stop_reason: str | None = None
    usage: _Usage | None = None

    @property
    def _within(self) -> list["_Piece"]:
        own = [one for one in (self.delta, self.message) if one is not None]
        return [*self.choices, *own, *(self.content if isinstance(self.content, list) else ())]

    def said(self) -> str:
        """All of its text."""
        own = self.content if isinstance(self.content, str) else ""
        return own + (self.text or "") + "".join(one.said() for one in self._within)

    def reasons(self) -> list[str]:
        """Why it ended, where it says so."""
        own = [one for one in (self.finish_reason, self.stop_reason) if one is not None]
        return own + [one for part in self._within for one in part.reasons()]

    def usages(self) -> list[_Usage]:
        """What it says about tokens."""
        own = [self.usage] if self.usage is not None else []
        return own + [one for part in self._within for one in part.usages()]


def _pieces(answer: Answer) -> list[_Piece]:
    """The JSON objects of an answer, whole or streamed."""
    if answer.body.startswith(b"{"):
        return [msgspec.json.decode(answer.body, type=_Piece)]
    lines = [line for line in answer.body.split(b"\n") if line.startswith(b"data: {")]
    return [msgspec.json.decode(line.removeprefix(b"data: "), type=_Piece) for line in lines]
