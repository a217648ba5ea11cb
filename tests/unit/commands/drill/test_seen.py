"""Which answers a client may see, and which it may not."""

import pytest

from proxy.commands.drill.seen import Seen, Way, _judged
from proxy.simulator.faults.told import Spoken

_STOP = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
_ERROR = b'event: error\ndata: {"type":"error","error":{"type":"api_error","message":"No."}}\n\n'
_CHAT_ERROR = b'data: {"error":{"type":"server_error","code":"timeout","message":"No."}}\n\n'
_DELTA = b'data: {"type":"content_block_delta"}\n\n'


@pytest.mark.parametrize(
    ("status", "body", "stream", "broken_off", "expected"),
    [
        (200, b'{"id":"msg_1"}', False, False, ("", "")),
        (200, b'{"id":"msg', False, True, ("", "cut off")),
        (502, b'{"error":{"type":"api_error","message":"No."}}', False, False, ("api_error", "")),
        (502, b"<html>", False, False, ("", "no error envelope")),
        (502, b"[" * 100_000, False, False, ("", "no error envelope")),
        (200, _DELTA + _STOP, True, False, ("", "")),
        (200, _DELTA + _ERROR, True, True, ("api_error", "")),
        (
            200,
            _DELTA + _ERROR,
            True,
            False,
            ("api_error", "an error frame, and a proper end of the transfer"),
        ),
        (200, _DELTA, True, False, ("", "ends without an end and without an error")),
        (200, _DELTA, True, True, ("", "ends without an end and without an error")),
    ],
)
def test_an_answer_is_judged_by_its_end(
    status: int, body: bytes, stream: bool, broken_off: bool, expected: tuple[str, str]
) -> None:
    """Protects operators from a drill that calls a broken answer a good one."""
    assert _judged(status, body, Way(Spoken.MESSAGES, stream), broken_off=broken_off) == expected


def test_a_chat_clients_end_and_error_are_its_own() -> None:
    """The same in the other dialect."""
    way = Way(Spoken.CHAT, stream=True)
    assert _judged(200, _DELTA + b"data: [DONE]\n\n", way, broken_off=False) == ("", "")
    assert _judged(200, _DELTA + _CHAT_ERROR, way, broken_off=True) == ("server_error / timeout", "")
    assert _judged(200, _DELTA + _STOP, way, broken_off=False)[1]


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        (Seen(200, credential="api-1", attempts=1), "whole answer from api-1, 1 call"),
        (Seen(200, credential="api-2", attempts=2), "whole answer from api-2, 2 calls"),
        (Seen(200, error="api_error"), "200, then api_error"),
        (Seen(503, error="overloaded_error"), "503 overloaded_error"),
        (Seen(0, fault="no answer"), "WRONG: no answer"),
    ],
)
def test_what_was_seen_is_said_in_a_few_words(seen: Seen, words: str) -> None:
    """Protects the table, in which nobody should have to guess."""
    assert seen.words() == words
