"""The fields of a request, compared with OpenAI's own types."""

from typing import get_type_hints

import pytest
from openai.types.chat import completion_create_params

from proxy.dialects.decoding import decode_json
from proxy.dialects.openai_chat.schema import ChatRequest
from proxy.errors import InvalidRequest


def test_every_field_of_openais_client_is_known() -> None:
    """A new field of the API shows here before a user finds it dropped; a few of other gateways are taken as well."""
    theirs = set(get_type_hints(completion_create_params.CompletionCreateParamsStreaming))
    assert set(ChatRequest.__struct_fields__) == theirs | {"cache_control", "reasoning", "thinking", "top_k"}


@pytest.mark.parametrize("field", sorted(set(ChatRequest.__struct_fields__) - {"messages"}))
def test_null_is_the_same_as_absent(field: str) -> None:
    """Clients send nulls for what they do not use."""
    decode_json(ChatRequest, f'{{"messages":[],"{field}":null}}')


@pytest.mark.parametrize(
    ("text", "param"),
    [
        ('"n":0', "n"),
        ('"max_tokens":0', "max_tokens"),
        ('"max_tokens":"5"', "max_tokens"),
        ('"max_completion_tokens":-1', "max_completion_tokens"),
        ('"temperature":2.1', "temperature"),
        ('"top_p":-0.1', "top_p"),
        ('"presence_penalty":3', "presence_penalty"),
        ('"stop":[1]', "stop[0]"),
        ('"reasoning_effort":"extreme"', "reasoning_effort"),
        ('"tools":[{"function":{}}]', "tools[0].function.name"),
        ('"messages":[{"role":"robot","content":""}]', "messages[0].role"),
        ('"messages":[{"content":""}]', "messages[0].role"),
        ('"messages":[{"role":"user"}]', "messages[0].content"),
        ('"messages":[{"role":"user","content":[{"type":"video"}]}]', "messages[0].content[0].type"),
        ('"messages":[{"role":"tool","content":""}]', "messages[0].tool_call_id"),
    ],
)
def test_mistyped_fields_are_named(text: str, param: str) -> None:
    """With the path of the field."""
    with pytest.raises(InvalidRequest) as caught:
        decode_json(ChatRequest, f'{{"messages":[],{text}}}')
    assert caught.value.param == param
