"""The simulated OpenAI-compatible API: its answers, its models and its errors, as bytes.

Source of the shapes: "The chat completion object", "The chat completion chunk object", "Models" and "Error codes" in
OpenAI's documentation. The same simulated model speaks here as in the Messages API.
"""

import msgspec

from proxy.clock import Clock
from proxy.simulator.chat_wire import ChatFault, ChatRequest, read_chat
from proxy.simulator.messages import Answer, Call, Text, Thought, Voice, compose
from proxy.simulator.models import MODELS, Model
from proxy.simulator.script import Step

CHAT_PATH = "/chat/completions"
PING = b": ping\n\n"

_DONE = b"data: [DONE]\n\n"
_OTHER_MODELS = ("example-model", "gpt-4o", "gpt-4-turbo-preview")
_OWNERS = dict.fromkeys(_OTHER_MODELS, "example")
_BYTES_PER_TOKEN = 4
_FINISHES = {"tool_use": "tool_calls", "max_tokens": "length", "refusal": "content_filter"}
_TYPES = {
    401: ("invalid_request_error", "invalid_api_key"),
    403: ("permission_error", None),
    404: ("invalid_request_error", "model_not_found"),
    429: ("rate_limit_error", "rate_limit_exceeded"),
    503: ("service_unavailable_error", "server_is_overloaded"),
}
_encoder = msgspec.json.Encoder()


def is_chat(path: str) -> bool:
    """Whether a path is that of this API, wherever it is mounted."""
    return path.endswith(CHAT_PATH)


def chat_error(
    status: int, message: str, *, kind: str = "", param: str | None = None, code: str | None = None
) -> bytes:
    """The envelope of every error, as a body or as the data of a frame."""
    usual, usual_code = _TYPES.get(
        status, ("server_error" if status >= 500 else "invalid_request_error", None)
    )
    error = {"message": message, "type": kind or usual, "param": param, "code": code or usual_code}
    return _encoder.encode({"error": error})


def model_list(clock: Clock) -> bytes:
    """``GET /v1/models``."""
    created = clock.unix_ms() // 1000
    names = (*_OTHER_MODELS, *MODELS)
    data = [
        {"id": name, "object": "model", "created": created, "owned_by": _OWNERS.get(name, "anthropic")}
        for name in names
    ]
    return _encoder.encode({"object": "list", "data": data})


class ChatAnswer(msgspec.Struct, frozen=True):
    """An answer in its pieces: the frames of a stream, or one body."""

    frames: list[bytes]
    streamed: bool
    tokens: int


def answer_chat(body: bytes, voice: Voice, step: Step, created_s: int) -> ChatAnswer:
    """Answer a request. Raises ChatFault where it is refused."""
    chat, asked = read_chat(body)
    if chat.model not in _OTHER_MODELS and chat.model not in MODELS:
        raise ChatFault(
            f"The model `{chat.model}` does not exist or you do not have access to it.",
            status=404,
            param="model",
            code="model_not_found",
        )
    answer = compose(asked, _model(chat.model), voice)
    if step.stop_reason is not None:
        answer.stop_reason = step.stop_reason
    usage = _usage(len(body) // _BYTES_PER_TOKEN, answer) | (step.usage or {})
    head: dict[str, object] = {
        "id": answer.id.replace("msg_", "chatcmpl-"),
        "object": "chat.completion.chunk" if chat.stream else "chat.completion",
        "created": created_s,
        "model": chat.model,
    }
    if not chat.stream:
        whole = head | {"choices": [_choice(answer)], "usage": usage}
        return ChatAnswer([_encoder.encode(whole)], streamed=False, tokens=answer.output_tokens)
    frames = _frames(head, answer, usage if _wants_usage(chat) else None)
    for insert in sorted(step.insert, key=lambda insert: insert.before, reverse=True):
        frames.insert(insert.before, insert.text.encode())
    return ChatAnswer(frames, streamed=True, tokens=answer.output_tokens)


def _model(name: str) -> Model:
    """Under another API's name the newest simulated model speaks."""
    return MODELS.get(name) or next(iter(MODELS.values()))


def _wants_usage(chat: ChatRequest) -> bool:
    return chat.stream_options is not None and bool(chat.stream_options.include_usage)


def _usage(prompt_tokens: int, answer: Answer) -> dict[str, object]:
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": answer.output_tokens,
        "total_tokens": prompt_tokens + answer.output_tokens,
        "prompt_tokens_details": {"cached_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0},
    }


def _finish(answer: Answer) -> str:
    return _FINISHES.get(answer.stop_reason, "stop")


def _choice(answer: Answer) -> dict[str, object]:
    text = "".join(part.text for part in answer.parts if isinstance(part, Text))
    calls = [_call(part) for part in answer.parts if isinstance(part, Call)]
    message: dict[str, object] = {"role": "assistant", "content": text or None, "refusal": None}
    if calls:
        message["tool_calls"] = calls
    return {"index": 0, "message": message, "logprobs": None, "finish_reason": _finish(answer)}


def _call(part: Call) -> dict[str, object]:
    function = {"name": part.name, "arguments": part.input.decode()}
    return {"id": part.id.replace("toolu_", "call_"), "type": "function", "function": function}


def _frames(head: dict[str, object], answer: Answer, usage: dict[str, object] | None) -> list[bytes]:
    extra: dict[str, object] = {} if usage is None else {"usage": None}

    def frame(delta: dict[str, object], finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return b"data: %b\n\n" % _encoder.encode(head | {"choices": [choice]} | extra)

    frames = [frame({"role": "assistant", "content": "", "refusal": None})]
    number = 0
    for part in answer.parts:
        match part:
            case Text():
                frames += [frame({"content": piece}) for piece in part.pieces]
            case Call():
                begun = _call(part)
                function = {"name": part.name, "arguments": ""}
                frames.append(frame({"tool_calls": [begun | {"index": number, "function": function}]}))
                half = len(part.input) // 2
                for piece in (part.input[:half].decode(), part.input[half:].decode()):
                    more = {"index": number, "function": {"arguments": piece}}
                    frames.append(frame({"tool_calls": [more]}))
                number += 1
            case Thought():
                frames += [frame({"reasoning_content": piece}) for piece in part.shown]
    frames.append(frame({}, _finish(answer)))
    if usage is not None:
        frames.append(b"data: %b\n\n" % _encoder.encode(head | {"choices": [], "usage": usage}))
    return [*frames, _DONE]
