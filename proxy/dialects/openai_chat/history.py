"""Chat messages as they are remembered.

An answer is remembered as the clients send it back that keep what they need of it: without the thinking that was shown,
and with the signed thinking of a turn that called tools.
"""

from collections.abc import Mapping
from itertools import takewhile
from typing import Final

import msgspec

from proxy.dialects.common import AnswerForm, Rendering, ThinkingFormat
from proxy.dialects.decoding import decode_json
from proxy.dialects.history import OWN_FIELD, History, demand_text
from proxy.dialects.openai_chat.reasoning_details import details_of, thoughts_of
from proxy.dialects.openai_chat.response import CustomCall, Function, ToolCall, said
from proxy.dialects.openai_chat.schema import ReasoningDetail
from proxy.dialects.openai_chat.shaping import shaped_message
from proxy.dialects.splicing import splice
from proxy.model.message import Message

_INSTRUCTIONS: Final = frozenset(("system", "developer"))


class _Asked(msgspec.Struct):
    messages: list[msgspec.Raw]


class _Spoken(msgspec.Struct, gc=False):
    role: str = ""


class _Turn(msgspec.Struct, kw_only=True):
    role: str = "assistant"
    content: str | None
    tool_calls: list[ToolCall | CustomCall] | msgspec.UnsetType = msgspec.UNSET
    function_call: Function | msgspec.UnsetType = msgspec.UNSET
    reasoning_details: list[ReasoningDetail] | msgspec.UnsetType = msgspec.UNSET


class ChatHistory:
    """See `HistoryFormat`."""

    def read(self, body: bytes) -> History:
        """See `HistoryFormat.read`."""
        demand_text(body)
        messages = decode_json(_Asked, body).messages
        for place, raw in enumerate(messages):
            decode_json(_Spoken, raw, at=f"messages[{place}]")
        system = tuple(takewhile(self.instructs, messages))
        return History(system, tuple(messages[len(system) :]))

    def written(self, body: bytes, history: History, more: Mapping[str, bytes]) -> bytes:
        """See `HistoryFormat.written`."""
        messages = msgspec.json.encode(history.system + history.messages)
        return splice(body, set={"messages": messages, **more}, remove=(OWN_FIELD,))

    def answer(self, message: Message, form: AnswerForm) -> msgspec.Raw | None:
        """See `HistoryFormat.answer`."""
        shown = shaped_message(message, form)
        rendering = Rendering(
            request_id="", created_s=0, model="", thinking_format=ThinkingFormat.NONE, form=form
        )
        answer = said(shown, rendering)
        calls = answer.tool_calls is not msgspec.UNSET or answer.function_call is not msgspec.UNSET
        if not answer.content and not calls:
            return None
        thoughts = thoughts_of(shown.content) if calls else ()
        turn = _Turn(
            content=answer.content,
            tool_calls=answer.tool_calls,
            function_call=answer.function_call,
            reasoning_details=details_of(thoughts) if thoughts else msgspec.UNSET,
        )
        return msgspec.Raw(msgspec.json.encode(turn))

    def begins(self, message: msgspec.Raw) -> bool:
        """See `HistoryFormat.begins`."""
        return decode_json(_Spoken, message).role == "user"

    def instructs(self, message: msgspec.Raw) -> bool:
        """See `HistoryFormat.instructs`."""
        return decode_json(_Spoken, message).role in _INSTRUCTIONS


def with_conversation(body: bytes, conversation: str) -> bytes:
    """A whole answer that passes as it came, with the conversation it belongs to."""
    return splice(body, set={OWN_FIELD: msgspec.json.encode(conversation)}, remove=())
