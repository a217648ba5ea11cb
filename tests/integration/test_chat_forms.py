"""The forms answers take for OpenAI's clients: gateway, and a simulated Claude that refuses what the real one does."""

from collections.abc import AsyncIterator, Mapping

import msgspec
import pytest
import pytest_asyncio

from proxy.simulator import ANY_KEY, Step
from proxy.simulator.objects import StoredFile
from tests.support.gateway import CLIENT_KEY
from tests.support.house import Answer, House, Spoken, house, read_answer

pytestmark = pytest.mark.asyncio(loop_scope="module")

OPUS_5 = "claude-opus-5"
_FENCED = '```json\n{"a": 1}\n```'
_OBJECT = {"response_format": {"type": "json_object"}}
_SCHEMA = {
    "type": "object",
    "properties": {"a": {"type": "string", "minLength": 3}, "b": {"type": "integer", "maximum": 9}},
    "required": ["a"],
}
_RECURSIVE = {
    "type": "object",
    "properties": {"next": {"$ref": "#/$defs/node"}, "a": {"type": "string"}},
    "$defs": {"node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}}}},
}


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def one_house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    """Two keys in front of a simulated Claude."""
    async with house(tmp_path_factory.mktemp("forms"), keys=("k1", "k2")) as running:
        yield running


@pytest.fixture
def running(one_house: House) -> House:
    """The same with nothing scripted."""
    one_house.simulator.reset()
    return one_house


def _asks(fields: Mapping[str, object], *, model: str = OPUS_5, stream: bool = False) -> bytes:
    plain = {"model": model, "messages": [{"role": "user", "content": "Hi"}], "stream": stream}
    return msgspec.json.encode({**plain, **fields})


def _schema(schema: object) -> dict[str, object]:
    return {"response_format": {"type": "json_schema", "json_schema": {"name": "thing", "schema": schema}}}


class _Delta(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    finish_reason: str | None = None
    message: _Delta = msgspec.field(default_factory=_Delta)
    delta: _Delta = msgspec.field(default_factory=_Delta)
    text: str = ""


class _Whole(msgspec.Struct):
    choices: list[_Choice]


def _said(answer: Answer, *, stream: bool) -> tuple[str, str]:
    """The text of an answer, and its finish reason."""
    if not stream:
        (choice,) = msgspec.json.decode(answer.body, type=_Whole).choices
        return choice.message.content or choice.text, choice.finish_reason or ""
    *data, done = [frame.removeprefix(b"data: ") for frame in answer.body.split(b"\n\n") if frame]
    assert done == b"[DONE]"
    choices = [choice for each in data for choice in msgspec.json.decode(each, type=_Whole).choices]
    text = "".join((choice.delta.content or "") + choice.text for choice in choices)
    return text, "".join(choice.finish_reason or "" for choice in choices)


async def _posted(running: House, path: str, body: bytes) -> Answer:
    url, headers = running.server.url + path, {"api-key": CLIENT_KEY}
    async with running.session.post(url, data=body, headers=headers) as response:
        return await read_answer(response)


async def _completes(running: House, body: bytes) -> Answer:
    return await _posted(running, "/v1/completions", body)


async def test_json_that_does_not_parse_is_asked_for_once_more(running: House) -> None:
    """A whole answer only: the first sentence of prose costs one more question, and the fence is taken off."""
    running.simulator.script(ANY_KEY, [Step(text="Sure! Here it is.")], then=Step(text=_FENCED))
    answer = await running.send(Spoken.CHAT, _asks(_OBJECT))
    assert _said(answer, stream=False)[0] == '{"a": 1}'
    assert answer.headers["x-carousel-attempts"] == "2"
    assert running.calls() == 2


async def test_the_second_answer_that_is_no_json_stands(running: House) -> None:
    """Nobody is asked for ever."""
    running.simulator.script(ANY_KEY, then=Step(text="No."))
    answer = await running.send(Spoken.CHAT, _asks(_OBJECT))
    assert (answer.status, _said(answer, stream=False)[0]) == (200, "No.")
    assert running.calls() == 2


async def test_streamed_json_loses_its_fence_and_is_never_asked_for_again(running: House) -> None:
    """What has been sent cannot be taken back."""
    for text, shown in ((_FENCED, '{"a": 1}'), ("No.", "No.")):
        running.simulator.reset()
        running.simulator.script(ANY_KEY, then=Step(text=text))
        answer = await running.send(Spoken.CHAT, _asks(_OBJECT, stream=True))
        assert _said(answer, stream=True) == (shown, "stop")
        assert running.calls() == 1


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("model", [OPUS_5, "claude-opus-5-5", "claude-haiku-4-5"])
async def test_a_schema_with_bounds_is_compiled(running: House, model: str, stream: bool) -> None:
    """The upstream would refuse the bounds; the answer follows the rest."""
    answer = await running.send(Spoken.CHAT, _asks(_schema(_SCHEMA), model=model, stream=stream))
    assert answer.status == 200
    text, finish = _said(answer, stream=stream)
    assert set(msgspec.json.decode(text, type=dict[str, object])) == {"a", "b"}
    assert finish == "stop"
    assert "x-carousel-dropped" not in answer.headers


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_a_schema_that_cannot_be_compiled_is_a_tools(running: House, stream: bool) -> None:
    """The model has to call it; the client sees text, and is told."""
    answer = await running.send(Spoken.CHAT, _asks(_schema(_RECURSIVE), stream=stream))
    text, finish = _said(answer, stream=stream)
    assert set(msgspec.json.decode(text, type=dict[str, object])) == {"next", "a"}
    assert finish == "stop"
    assert b"tool_calls" not in answer.body
    assert answer.headers["x-carousel-dropped"] == "response_format.json_schema.schema"


async def test_a_schema_nothing_compels_is_asked_for_in_words(running: House) -> None:
    """Of a model that can be made to call no tool."""
    running.simulator.script(ANY_KEY, then=Step(text=_FENCED))
    answer = await running.send(Spoken.CHAT, _asks(_schema(_RECURSIVE), model="claude-opus-5-5"))
    assert _said(answer, stream=False)[0] == '{"a": 1}'
    assert answer.headers["x-carousel-dropped"] == "response_format.json_schema.schema"


@pytest.mark.parametrize(
    "path",
    [
        f"{prefix}/openai/deployments/{OPUS_5}/chat/completions?api-version=2024-10-21"
        for prefix in ("", "/v1", "/hf", "/hf/v1")
    ],
)
async def test_the_model_in_the_address_is_the_one_asked(running: House, path: str) -> None:
    """Clients of Azure's API name it nowhere else, or something else in the body."""
    for fields in ({}, {"model": "something"}):
        body = msgspec.json.encode({"messages": [{"role": "user", "content": "Hi"}], **fields})
        answer = await _posted(running, path, body)
        assert answer.status == 200
        assert msgspec.json.decode(answer.body)["model"] == OPUS_5


async def test_a_deployment_nobody_has_is_not_found(running: House) -> None:
    """As for a model in the body."""
    answer = await _posted(running, "/openai/deployments/gpt-9/chat/completions", _asks({}))
    assert (answer.status, answer.error.error.code) == (404, "model_not_found")


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_a_text_completion(running: House, stream: bool) -> None:
    """A prompt in, the prompt and what follows out."""
    body = msgspec.json.encode(
        {"model": OPUS_5, "prompt": "Say it.", "echo": True, "stream": stream, "seed": 1}
    )
    answer = await _completes(running, body)
    text, finish = _said(answer, stream=stream)
    assert text.startswith('Say it.You said: "Say it."')
    assert finish == "stop"
    assert b'"object":"text_completion"' in answer.body
    assert answer.headers["x-carousel-dropped"] == "seed"


async def test_a_text_completion_nobody_can_make_is_refused_by_name(running: House) -> None:
    """In OpenAI's envelope, before anybody is asked."""
    answer = await _completes(running, msgspec.json.encode({"model": OPUS_5, "prompt": ["a", "b"]}))
    assert (answer.status, answer.error.error.param) == (400, "prompt")
    assert running.calls() == 0


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions"])
async def test_what_an_answer_cites_is_told_or_named_as_lost(running: House, path: str) -> None:
    """Pages of the web become annotations; all else an answer cites has no place in these dialects."""
    page = {
        "type": "web_search_result_location",
        "url": "https://a.example/",
        "title": "A",
        "cited_text": "x",
    }
    quote = {"type": "char_location", "cited_text": "x", "document_index": 0, "document_title": "D"}
    content = [{"type": "text", "text": "Rain.", "citations": [page, quote]}]
    running.simulator.script(ANY_KEY, then=Step(fields={"message": {"content": content}}))
    answer = await _posted(running, path, _asks({} if "chat" in path else {"prompt": "Hi"}))
    assert answer.status == 200, answer.body
    assert _said(answer, stream=False)[0] == "Rain."
    named = answer.headers["x-carousel-dropped"].split(", ")
    assert "content[].citations" in named
    cited = b'{"start_index":0,"end_index":5,"title":"A","url":"https://a.example/"}'
    assert (b'"annotations":[{"url_citation":%b,"type":"url_citation"}]' % cited in answer.body) is (
        "chat" in path
    )


async def test_documents_and_images_reach_the_model(running: House) -> None:
    """By data URL, by URL and by id; the simulated Claude refuses what is mislabelled, or not there."""
    for key in ("k1", "k2"):
        running.simulator.assign(key, "ours")
    running.simulator.objects.files["file_01A"] = StoredFile("ours", "", None, {})
    parts = [
        {"type": "text", "text": "Look."},
        {
            "type": "file",
            "file": {"file_data": "data:application/pdf;base64,JVBERi0xLjc=", "filename": "a.pdf"},
        },
        {"type": "file", "file": {"file_data": "data:text/csv;base64,YSxi"}},
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
        {"type": "file", "file": {"file_data": "https://example.com/a.pdf"}},
        {"type": "file", "file": {"file_id": "file_01A"}},
    ]
    answer = await running.send(
        Spoken.CHAT, msgspec.json.encode({"model": OPUS_5, "messages": [{"role": "user", "content": parts}]})
    )
    text, _ = _said(answer, stream=False)
    assert "4 documents: application/pdf 8 bytes; text/plain 3 bytes; url 0 bytes; file 0 bytes" in text
    assert "1 image: url" in text
