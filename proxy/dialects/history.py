"""What is remembered of a conversation, in the words of the dialect it is held in.

Messages are kept as their client wrote them: the same history always gives the same bytes, and prompt caches depend
on that.
"""

from collections.abc import Mapping, Sequence
from typing import Final, Protocol

import msgspec

from proxy.dialects.common import AnswerForm
from proxy.dialects.decoding import invalid
from proxy.model.message import Message

OWN_FIELD: Final = "conversation_id"
"""The field by which a request names its conversation."""

_messages_decoder = msgspec.json.Decoder(tuple[msgspec.Raw, ...])


class History(msgspec.Struct, frozen=True):
    """What was said, or the part of it that a request adds.

    Attributes:
        system: the instructions before the first turn, as the dialect has them.
        messages: the turns.
    """

    system: tuple[msgspec.Raw, ...] = ()
    messages: tuple[msgspec.Raw, ...] = ()

    @property
    def length_bytes(self) -> int:
        """How much it takes, but for the commas."""
        return sum(map(_length, self.system)) + sum(map(_length, self.messages))

    def then(self, new: "History") -> "History":
        """With what came after it; instructions that come anew take the place of those before."""
        return History(new.system or self.system, self.messages + new.messages)


class HistoryFormat(Protocol):
    """How a dialect writes its turns."""

    def read(self, body: bytes) -> History:
        """What a request holds. Raises InvalidRequest naming the field."""
        ...

    def written(self, body: bytes, history: History, more: Mapping[str, bytes]) -> bytes:
        """The request with this history as its own, and with further top-level fields as JSON."""
        ...

    def answer(self, message: Message, form: AnswerForm) -> msgspec.Raw | None:
        """An answer as its client would send it back with the next turn; None where nothing was said."""
        ...

    def begins(self, message: msgspec.Raw) -> bool:
        """Whether a turn begins with a message: the user speaks, and answers no tool call."""
        ...

    def instructs(self, message: msgspec.Raw) -> bool:
        """Whether a message is an instruction, which stays when the turn it stands in is forgotten."""
        ...


def cropped(
    history: History, wording: HistoryFormat, *, most_messages: int, most_bytes: int
) -> History | None:
    """The history without its oldest turns, as far as that is needed; None where its last turn alone is too large.

    Whole turns go, so that no tool's result is left without its call. The last turn stays, however many messages it
    has, and so do instructions.
    """
    messages = history.messages
    instructs = [wording.instructs(raw) for raw in messages]
    spoken = len(messages) - sum(instructs)
    length_bytes = history.length_bytes
    staying: list[msgspec.Raw] = []
    begin = 0
    for place, raw in enumerate(messages):
        if place and wording.begins(raw):
            if spoken <= most_messages and length_bytes <= most_bytes:
                break
            earlier = range(begin, place)
            staying += [messages[at] for at in earlier if instructs[at]]
            gone = [messages[at] for at in earlier if not instructs[at]]
            spoken -= len(gone)
            length_bytes -= sum(map(_length, gone))
            begin = place
    if length_bytes > most_bytes:
        return None
    return History(history.system, (*staying, *messages[begin:]))


def demand_text(body: bytes) -> None:
    """Raises InvalidRequest for a body that is no UTF-8: parts of it are kept without being decoded."""
    if not body.isascii():
        try:
            body.decode()
        except UnicodeDecodeError as error:
            raise invalid(error) from None


def as_json(messages: Sequence[msgspec.Raw]) -> str:
    """Messages as they are kept: a JSON array."""
    return msgspec.json.encode(messages).decode()


def from_json(system: str, messages: str) -> History:
    """The history that was kept so."""
    return History(_messages_decoder.decode(system), _messages_decoder.decode(messages))


def _length(raw: msgspec.Raw) -> int:
    return memoryview(raw).nbytes
