"""Conversations the simulated Claude holds between turns, so that a request sends only its new messages.

Source: the ``thread`` parameter of the beta Messages page of Anthropic's API reference, and its error details.
"""

from collections import OrderedDict

import msgspec

from proxy.errors import ErrorKind, GatewayError, InvalidRequest
from proxy.simulator.messages import Answer
from proxy.simulator.render import message
from proxy.simulator.wire import Block, Message, MessagesRequest, Tool

_MAX_HELD = 10_000
_NOT_FOUND = b'{"error_code":"thread_not_found"}'


class _Thread(msgspec.Struct):
    type: str
    previous_message_id: str = ""


class _Held(msgspec.Struct, frozen=True):
    messages: list[Message]
    system: str | list[Block] | None
    tools: list[Tool] | None


class Threads:
    """What each organization's threads hold, by the id of the answer that can be continued."""

    def __init__(self) -> None:
        self._held: OrderedDict[tuple[str, str], _Held] = OrderedDict()

    def clear(self) -> None:
        """Forget everything."""
        self._held.clear()

    def unfold(self, request: MessagesRequest, organization: str) -> None:
        """Put what a thread holds before the messages of a request that continues it.

        Raises GatewayError 404 for an answer this organization does not hold.
        """
        thread = thread_of(request)
        if thread is None or thread.type == "create":
            return
        if thread.type != "continue":
            raise InvalidRequest("thread: Input tag does not match any of the expected tags")
        held = self._held.get((organization, thread.previous_message_id))
        if held is None:
            raise GatewayError(404, ErrorKind.NOT_FOUND, "No thread state was found.", details=_NOT_FOUND)
        request.messages = [*held.messages, *request.messages]
        request.system, request.tools = held.system, held.tools

    def keep(self, request: MessagesRequest, answer: Answer, organization: str) -> None:
        """Hold a turn that was answered, where its request has a thread."""
        if thread_of(request) is None:
            return
        said = msgspec.json.decode(message(answer), type=Message)
        held = _Held([*request.messages, said], request.system, request.tools)
        self._held[organization, answer.id] = held
        if len(self._held) > _MAX_HELD:
            self._held.popitem(last=False)


def thread_of(request: MessagesRequest) -> _Thread | None:
    """The thread a request belongs to, where it names one. Raises InvalidRequest for what is none."""
    if not bytes(request.thread):
        return None
    try:
        return msgspec.json.decode(request.thread, type=_Thread | None)
    except msgspec.ValidationError:
        raise InvalidRequest("thread: Input should be a valid dictionary") from None
