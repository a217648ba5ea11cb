"""What every attempt told of usage is charged once, to who told it."""

import contextlib
from collections.abc import Callable, Mapping
from typing import Final

from hypothesis import given
from hypothesis import strategies as st

from proxy.dispatch.attempt import UnaryOpened
from proxy.dispatch.trace import SUCCESS, Trace
from proxy.errors import GatewayError
from proxy.model.message import Usage
from proxy.pool import Fault, Success
from proxy.telemetry.usage import Charge
from tests.unit.dispatch.asking import ask
from tests.unit.dispatch.building import (
    CHAT,
    HELLO,
    MODEL,
    OPEN,
    START,
    WHOLE,
    Answer,
    bench,
    body,
    exchange,
    frame,
    refused,
    streamed,
    whole,
)

_DEMAND: Final[Mapping[str, object]] = {
    "tools": [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}],
    "tool_choice": "required",
}
_ERROR: Final = frame("error", error={"type": "api_error", "message": "no"})


_BEGINS: Final = (START, OPEN, HELLO)
_ANSWERS: Final[Mapping[str, tuple[Callable[[], Answer], Usage]]] = {
    "whole": (lambda: streamed(*WHOLE), Usage(input_tokens=3, output_tokens=7)),
    "as one": (whole, Usage(input_tokens=3, output_tokens=7)),
    "cut": (lambda: streamed(*_BEGINS, Fault.TRUNCATED), Usage(input_tokens=3, output_tokens=1)),
    "ended": (lambda: streamed(*_BEGINS), Usage(input_tokens=3, output_tokens=1)),
    "told": (lambda: streamed(*_BEGINS, _ERROR), Usage(input_tokens=3, output_tokens=1)),
    "told first": (lambda: streamed(_ERROR), Usage()),
    "empty": (streamed, Usage()),
    "refused": (lambda: refused(429), Usage()),
    "failed": (lambda: refused(500), Usage()),
    "reset": (lambda: Fault.RESET, Usage()),
}
"""What an upstream does, and what it has told of usage by then."""


@given(st.lists(st.sampled_from(sorted(_ANSWERS)), max_size=6), st.booleans())
async def test_whatever_the_attempts_come_to_their_tokens_are_settled_once(
    names: list[str], demanding: bool
) -> None:
    """Protects the bill over every path through retries: what was told is charged, once, to who told it."""
    house = bench(
        *(_ANSWERS[name][0]() for name in (*names, *["whole"] * 9)), retry_count=5, same_fault_attempts=9
    )
    trace = Trace()
    raw = body(max_tokens=30_000, **(_DEMAND if demanding else {}))
    with contextlib.suppress(GatewayError):
        opened = await ask(house, exchange(raw, dialect=CHAT), trace=trace)
        assert isinstance(opened, UnaryOpened)
        trace.usage, trace.first_event_s, trace.outcome = opened.usage, 1.0, SUCCESS
        house.dispatcher.end(opened, Success())
    done = trace.settlement("anna", MODEL, status=200, free=False)
    charges = [*done.further, *([done.answered] if done.answered is not None else [])]
    asked = [name for name, _ in house.upstream.calls]
    told = [_ANSWERS[name][1] for name in (*names, *["whole"] * 9)[: len(asked)]]
    expected = sorted(
        (name, usage.input_tokens, usage.output_tokens)
        for name, usage in zip(asked, told, strict=True)
        if usage != Usage()
    )
    assert sorted(_counted(charge) for charge in charges) == expected


def _counted(charge: Charge) -> tuple[str, int | None, int | None]:
    assert charge.usage is not None
    return charge.credential, charge.usage.input_tokens, charge.usage.output_tokens
