"""What there is to say about each route that clients use. Administration has a file of its own."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from proxy.dialects.anthropic.request import MessagesRequest
from proxy.dialects.openai_chat.response import ChatCompletion
from proxy.dialects.openai_chat.schema import ChatRequest
from proxy.dialects.openai_chat.text.answer import Completion
from proxy.dialects.openai_chat.text.request import TextRequest
from proxy.dialects.openai_responses.schema import ResponsesRequest
from proxy.model.message import Message
from proxy.server.capabilities import Capabilities
from proxy.server.openapi import shapes
from proxy.server.openapi.operation import (
    BETA,
    EVENTS,
    JSON,
    ORDER_KEY,
    VERSION,
    WORD,
    Operation,
    Parameter,
    Raw,
    one_of,
    whole,
)
from proxy.server.openapi.statuses import MODEL, OBJECT, ORDER, STORED, TURN

_CHAT: Final = "Chat Completions"
_RESPONSES: Final = "Responses"
_MESSAGES: Final = "Messages"
_FILES: Final = "Files"
_BATCHES: Final = "Message Batches"
_MODELS: Final = "Models"
_STATE: Final = "State"
_BYTES: Final = "*/*"
_NATIVE: Final = (VERSION, BETA)
_NOTHING: Final[Mapping[str, type]] = MappingProxyType({})
_SEALS: Final = Parameter(
    "include",
    "reasoning.encrypted_content shows the encrypted thinking.",
    {"type": "array", "items": {"type": "string"}},
)
_ENDS: Final = (
    Parameter("after_id", "The page begins after this one."),
    Parameter("before_id", "The page ends before this one."),
)
_LIMIT: Final = Parameter("limit", "How many there are on a page, 20 unless given.", whole(1000))
_PAGE: Final = (_LIMIT, *_ENDS, Parameter("page", "Where the page begins: next_page of the one before."))


def _asked(
    summary: str,
    tag: str,
    body: type,
    answer: type,
    *,
    native: bool = False,
    statuses: frozenset[int] = MODEL,
) -> Operation:
    """A call of a model, whole or streamed."""
    return Operation(
        summary=summary,
        tag=tag,
        body={JSON: body},
        answer={JSON: answer, EVENTS: Raw},
        statuses=statuses,
        parameters=_NATIVE if native else (),
    )


def _object(
    summary: str,
    tag: str,
    answer: type,
    *,
    body: Mapping[str, type] = _NOTHING,
    parameters: tuple[Parameter, ...] = (),
    statuses: frozenset[int] = OBJECT,
) -> Operation:
    """A call about files or batches."""
    return Operation(
        summary=summary,
        tag=tag,
        body=body,
        answer={_BYTES if answer is Raw else JSON: answer},
        statuses=statuses,
        parameters=(*_NATIVE, *parameters),
    )


CLIENTS: Final[Mapping[tuple[str, str], Operation]] = MappingProxyType(
    {
        ("POST", "/v1/chat/completions"): _asked(
            "Ask in a chat", _CHAT, ChatRequest, ChatCompletion, statuses=TURN
        ),
        ("POST", "/openai/deployments/{model}/chat/completions"): _asked(
            "Ask in a chat, with the model in the address, as Azure's clients do",
            _CHAT,
            ChatRequest,
            ChatCompletion,
            statuses=TURN,
        ),
        ("POST", "/v1/completions"): _asked("Have a text completed", _CHAT, TextRequest, Completion),
        ("POST", "/v1/messages"): _asked(
            "Ask for a message", _MESSAGES, MessagesRequest, Message, native=True, statuses=TURN
        ),
        ("POST", "/v1/messages/count_tokens"): Operation(
            summary="Count the tokens of a message",
            tag=_MESSAGES,
            body={JSON: shapes.CountTokensRequest},
            answer={JSON: shapes.MessageTokens},
            statuses=MODEL,
            parameters=_NATIVE,
        ),
        ("POST", "/v1/responses"): _asked(
            "Ask for a response", _RESPONSES, ResponsesRequest, shapes.Response
        ),
        ("POST", "/v1/responses/input_tokens"): Operation(
            summary="Count the tokens of a request for a response",
            tag=_RESPONSES,
            body={JSON: ResponsesRequest},
            answer={JSON: shapes.ResponseTokens},
            statuses=MODEL,
        ),
        ("POST", "/v1/responses/compact"): Operation(
            summary="Not offered: programs that find it missing compact by themselves",
            tag=_RESPONSES,
            answer={},
            statuses=frozenset({404}),
        ),
        ("GET", "/v1/responses/{id}"): Operation(
            summary="A stored response",
            tag=_RESPONSES,
            answer={JSON: shapes.Response},
            statuses=STORED | {404},
            parameters=(_SEALS, Parameter("stream", "Not offered.", one_of("false"))),
        ),
        ("DELETE", "/v1/responses/{id}"): Operation(
            summary="Forget a stored response",
            tag=_RESPONSES,
            answer={JSON: shapes.DeletedResponse},
            statuses=STORED | {404},
        ),
        ("GET", "/v1/responses/{id}/input_items"): Operation(
            summary="The items that were new with a response",
            tag=_RESPONSES,
            answer={JSON: shapes.InputItems},
            statuses=STORED | {404},
            parameters=(
                Parameter("limit", "How many there are on a page, 20 unless given.", whole(100)),
                Parameter("order", "The last first unless given.", one_of("asc", "desc")),
                Parameter("after", "The page begins after this item.", WORD),
                _SEALS,
            ),
        ),
        ("POST", "/v1/responses/{id}/cancel"): Operation(
            summary="Not offered: nothing runs in the background",
            tag=_RESPONSES,
            answer={},
            statuses=STORED | {404},
        ),
        ("POST", "/v1/files"): _object(
            "Upload a file",
            _FILES,
            shapes.StoredObject,
            body={"multipart/form-data": shapes.Upload},
            parameters=(ORDER_KEY,),
            statuses=OBJECT | ORDER,
        ),
        ("GET", "/v1/files"): _object(
            "The files of the client",
            _FILES,
            shapes.ObjectPage,
            parameters=(
                *_PAGE,
                Parameter(
                    "ids[]",
                    "Only these files.",
                    {"type": "array", "items": {"type": "string"}, "maxItems": 100},
                ),
            ),
        ),
        ("GET", "/v1/files/{id}"): _object("A file, without its content", _FILES, shapes.StoredObject),
        ("GET", "/v1/files/{id}/content"): _object("The content of a file", _FILES, Raw),
        ("DELETE", "/v1/files/{id}"): _object("Delete a file", _FILES, shapes.DeletedObject),
        ("POST", "/v1/messages/batches"): _object(
            "Make a batch of messages", _BATCHES, shapes.StoredObject, body={JSON: shapes.BatchRequest}
        ),
        ("GET", "/v1/messages/batches"): _object(
            "The batches of the client", _BATCHES, shapes.ObjectPage, parameters=_PAGE
        ),
        ("GET", "/v1/messages/batches/{id}"): _object("A batch", _BATCHES, shapes.StoredObject),
        ("GET", "/v1/messages/batches/{id}/results"): _object(
            "The results of a batch, a line each", _BATCHES, Raw
        ),
        ("POST", "/v1/messages/batches/{id}/cancel"): _object("End a batch", _BATCHES, shapes.StoredObject),
        ("DELETE", "/v1/messages/batches/{id}"): _object("Delete a batch", _BATCHES, shapes.DeletedObject),
        ("GET", "/v1/models"): Operation(
            summary="The models, as OpenAI's clients read them, or Anthropic's where they name their version",
            tag=_MODELS,
            answer={JSON: (shapes.ModelList, shapes.ClaudeModelPage)},
            parameters=(
                VERSION,
                _LIMIT,
                *_ENDS,
                Parameter(
                    "lifecycle",
                    "Only models of these; active and deprecated ones unless given.",
                    {"type": "array", "items": one_of("active", "deprecated", "retired")},
                ),
            ),
        ),
        ("GET", "/v1/models/{model}"): Operation(
            summary="A model; another name of it answers with its own",
            tag=_MODELS,
            answer={JSON: (shapes.ListedModel, shapes.ClaudeModel)},
            statuses=frozenset({404}),
            parameters=(VERSION,),
        ),
        ("GET", "/v1/capabilities"): Operation(
            summary="What each kind of credential carries of what clients can ask for",
            tag=_MODELS,
            answer={JSON: Capabilities},
        ),
        ("GET", "/health"): Operation(
            summary="Whether the process serves", tag=_STATE, answer={JSON: shapes.Health}
        ),
        ("GET", "/live"): Operation(
            summary="Whether the process serves in time",
            tag=_STATE,
            answer={JSON: shapes.Health},
            also=(503,),
        ),
        ("GET", "/ready"): Operation(
            summary="Whether new requests are welcome",
            tag=_STATE,
            answer={JSON: shapes.Readiness},
            also=(503,),
        ),
        ("GET", "/stats"): Operation(
            summary="What was used since the start: by the client, or with the admin key by all",
            tag=_STATE,
            answer={JSON: shapes.Stats},
        ),
        ("GET", "/openapi.json"): Operation(
            summary="This description", tag=_STATE, answer={JSON: shapes.Described}
        ),
    }
)
"""By method and path, without the prefixes below which it lives too."""
