"""Turns of a Messages conversation as they are remembered: the answer whole, with its thinking."""

from collections.abc import Mapping
from typing import Final

import msgspec

from proxy.dialects.common import AnswerForm
from proxy.dialects.decoding import Anything, decode_json, is_given
from proxy.dialects.history import OWN_FIELD, History, demand_text
from proxy.dialects.splicing import splice
from proxy.model.content import TextBlock
from proxy.model.message import Message
from proxy.model.request import InputMessage

_RESULT: Final = "tool_result"


class _Asked(msgspec.Struct):
    messages: list[msgspec.Raw]
    system: Anything = msgspec.UNSET


class _Spoken(msgspec.Struct):
    role: str = ""
    content: Anything = msgspec.UNSET


class _Block(msgspec.Struct, gc=False):
    type: str = ""


_blocks_decoder = msgspec.json.Decoder(list[_Block])


class MessagesHistory:
    """See `HistoryFormat`."""

    def read(self, body: bytes) -> History:
        """See `HistoryFormat.read`."""
        demand_text(body)
        asked = decode_json(_Asked, body)
        for place, raw in enumerate(asked.messages):
            decode_json(_Spoken, raw, at=f"messages[{place}]")
        system = asked.system
        given = (system,) if isinstance(system, msgspec.Raw) and is_given(system) else ()
        return History(given, tuple(asked.messages))

    def written(self, body: bytes, history: History, more: Mapping[str, bytes]) -> bytes:
        """See `HistoryFormat.written`."""
        changes = {"messages": msgspec.json.encode(history.messages), **more}
        if history.system:
            changes["system"] = bytes(history.system[0])
        return splice(body, set=changes, remove=(OWN_FIELD,))

    def answer(self, message: Message, form: AnswerForm) -> msgspec.Raw | None:  # noqa: ARG002 - a Messages answer has one form
        """See `HistoryFormat.answer`."""
        # the API takes no empty text back
        content = [block for block in message.content if not isinstance(block, TextBlock) or block.text]
        if not content:
            return None
        return msgspec.Raw(msgspec.json.encode(InputMessage("assistant", content)))

    def begins(self, message: msgspec.Raw) -> bool:
        """See `HistoryFormat.begins`."""
        spoken = decode_json(_Spoken, message)
        if spoken.role != "user" or spoken.content is msgspec.UNSET:
            return False
        try:
            blocks = _blocks_decoder.decode(spoken.content)
        except (ValueError, RecursionError):
            return True
        return all(block.type != _RESULT for block in blocks)

    def instructs(self, message: msgspec.Raw) -> bool:  # noqa: ARG002 - those of this dialect stand beside the messages
        """See `HistoryFormat.instructs`."""
        return False
