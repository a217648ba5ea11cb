"""Text completions: what becomes of each field."""

from typing import get_type_hints

import msgspec
import pytest
from openai.types import completion_create_params

from proxy.dialects.anthropic import encode_request
from proxy.dialects.common import Target
from proxy.dialects.openai_chat.fields import Verdict
from proxy.dialects.openai_chat.text.request import FIELDS, TextRequest, decode_request, peek
from proxy.errors import InvalidRequest
from proxy.model.catalog import Catalog

_FACTS = Catalog.load().facts("claude-sonnet-4-6")
_TARGET = Target(facts=_FACTS, model=_FACTS.id)
_SUFFIX = (
    "Write the text that belongs between what the user says and the following text, and nothing else. "
    "The following text is:\nend"
)


def _says(text: str) -> dict[str, object]:
    return {"messages": [{"role": "user", "content": [{"type": "text", "text": text}]}]}


def test_every_field_of_openais_client_has_a_verdict() -> None:
    """In the table, and in what is read."""
    theirs = set(get_type_hints(completion_create_params.CompletionCreateParamsStreaming))
    assert set(FIELDS) == theirs == set(TextRequest.__struct_fields__)
    assert {rule.verdict for rule in FIELDS.values()} == set(Verdict)


@pytest.mark.parametrize(
    ("sent", "up", "dropped"),
    [
        ({}, {}, []),
        ({"prompt": ["one"]}, _says("one"), []),
        ({"n": 1, "best_of": 1, "echo": False, "logprobs": None, "suffix": ""}, {}, []),
        ({"frequency_penalty": 1, "presence_penalty": 1}, {}, ["frequency_penalty", "presence_penalty"]),
        ({"logit_bias": {"1": 1}, "logprobs": 3, "seed": 5}, {}, ["logit_bias", "logprobs", "seed"]),
        ({"max_tokens": 256}, {"max_tokens": 256}, []),
        ({"stop": ["a", " "]}, {"stop_sequences": ["a"]}, []),
        ({"temperature": 0.5}, {"temperature": 0.5}, []),
        ({"top_p": 0.5}, {"top_p": 0.5}, []),
        ({"suffix": "end"}, {"system": [{"type": "text", "text": _SUFFIX}]}, []),
        ({"min_p": 1}, {}, ["min_p"]),
    ],
)
def test_what_becomes_of_each_field(
    sent: dict[str, object], up: dict[str, object], dropped: list[str]
) -> None:
    """The prompt is what the user says; the rest goes the way of a chat's fields."""
    translated = decode_request(msgspec.json.encode({"prompt": "hi", **sent}), _TARGET)
    plain = {"model": _FACTS.id, "max_tokens": 16_000, **_says("hi")}
    assert msgspec.json.decode(encode_request(translated.request)) == {**plain, **up}
    assert [loss.field for loss in translated.dropped] == dropped


def test_the_end_user_is_an_opaque_id() -> None:
    """As for chats."""
    metadata = decode_request(b'{"prompt":"hi","user":"ann"}', _TARGET).request.metadata
    assert metadata is not None
    assert len(metadata.user_id or "") == 32


@pytest.mark.parametrize(("echo", "said"), [(True, "hi"), (False, ""), (None, "")])
def test_an_echo_is_said_with_the_answer(echo: bool | None, said: str) -> None:
    """Only where it was asked for."""
    body = msgspec.json.encode({"prompt": "hi", "echo": echo})
    assert decode_request(body, _TARGET).form.echo == said


@pytest.mark.parametrize(
    ("sent", "param"),
    [
        ({"prompt": ["a", "b"]}, "prompt"),
        ({"prompt": [1, 2]}, "prompt"),
        ({"prompt": [[1, 2]]}, "prompt"),
        ({"prompt": []}, "prompt"),
        ({"prompt": " "}, "prompt"),
        ({"prompt": None}, "prompt"),
        ({"prompt": 5}, "prompt"),
        ({"n": 2}, "n"),
        ({"best_of": 3}, "best_of"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"temperature": 3}, "temperature"),
    ],
)
def test_what_cannot_be_answered_is_refused_by_name(sent: dict[str, object], param: str) -> None:
    """Several prompts, tokens, several answers."""
    with pytest.raises(InvalidRequest) as caught:
        decode_request(msgspec.json.encode({"prompt": "hi", **sent}), _TARGET)
    assert caught.value.param == param


def test_the_peek_reads_what_routing_needs() -> None:
    """The same prompt is the same conversation."""
    found = peek(
        b'{"model":"m","prompt":"a","stream":true,"stream_options":{"include_usage":true},"session_id":"s"}'
    )
    assert (found.model, found.stream, found.include_usage) == ("m", True, True)
    assert found.own_fields == ("session_id",)
    assert found.opening == peek(b'{"prompt":"a"}').opening != peek(b'{"prompt":"b"}').opening
    with pytest.raises(InvalidRequest):
        peek(b"[]")
