"""What a batch's answers used is read from its results, whatever pieces they come in."""

import msgspec
import pytest

from proxy.dialects.anthropic.results import BatchAnswer, ResultsTap
from proxy.model.message import Usage

_USAGE = Usage(input_tokens=3, output_tokens=7)


def _line(number: int, **usage: object) -> bytes:
    message = {
        "id": f"msg_{number}",
        "type": "message",
        "model": "claude-sonnet-5-5",
        "usage": {"input_tokens": 3, "output_tokens": 7, **usage},
    }
    told = {"custom_id": f"r{number}", "result": {"type": "succeeded", "message": message}}
    return msgspec.json.encode(told)


_ERRORED = b'{"custom_id":"r9","result":{"type":"errored","error":{"type":"error"}}}'
_ANSWER = BatchAnswer("claude-sonnet-5-5", Usage(input_tokens=3, output_tokens=7, service_tier="batch"))


def _read(data: bytes, size: int, *, line_max_bytes: int = 10_000) -> list[BatchAnswer]:
    tap = ResultsTap(line_max_bytes)
    found: list[BatchAnswer] = []
    for start in range(0, len(data), size):
        found += tap.feed(data[start : start + size])
    return found + list(tap.end())


@pytest.mark.parametrize("size", [1, 7, 100_000])
@pytest.mark.parametrize("end", [b"\n", b"", b"\r\n", b"\n\n"])
def test_every_answer_is_read_once_in_whatever_pieces(size: int, end: bytes) -> None:
    """Protects the bill from lines that are cut by the network, and from a last one without an end."""
    data = b"\n".join([_line(1), _ERRORED, _line(2)]) + end
    assert _read(data, size) == [_ANSWER, _ANSWER]


def test_each_answer_is_priced_as_one_of_a_batch() -> None:
    """Protects clients from twice the price where an answer says another tier, or none."""
    (found,) = _read(_line(1, service_tier="standard"), 100_000)
    assert found == _ANSWER


@pytest.mark.parametrize("size", [1, 50, 100_000])
def test_a_line_too_long_to_be_read_counts_as_an_answer_that_told_nothing(size: int) -> None:
    """Protects memory, and operators from sums that look complete."""
    data = b"\n".join([_line(1), b'{"x":"' + b"x" * 5000 + b'"}', _line(2)])
    assert _read(data, size, line_max_bytes=1000) == [_ANSWER, BatchAnswer("", Usage()), _ANSWER]


@pytest.mark.parametrize(
    "line", [b"nonsense", b"{}", b"[]", b'{"result":[]}', b'{"result":{"message":7}}', b"\xff"]
)
def test_what_is_no_result_is_passed_over(line: bytes) -> None:
    """Protects downloads from whatever an upstream sends."""
    assert _read(line + b"\n" + _line(1), 100_000) == [_ANSWER]
