"""What goes to Claude Code beside the messages."""

from pathlib import Path

import msgspec
import pytest

from proxy.dispatch.prepare import prepare
from proxy.dispatch.wishes import with_wish
from proxy.errors import GatewayError, InvalidRequest
from proxy.exchange import Belonging, Exchange
from tests.unit.dispatch.building import CATALOG, MEMORY, NO_DEFAULTS, body, exchange


def _call(options: object, belongs: Belonging | None = None) -> Exchange:
    found = exchange(body(claude_options=options))
    return msgspec.structs.replace(found, belongs=belongs or Belonging(owner="alice", folder="/projects/a"))


def test_the_options_go_with_the_call_and_are_not_lost() -> None:
    """Protects the options, whose they are, and the client from being told that they were dropped."""
    call = _call({"model": "opus"})
    prepared = prepare(call, CATALOG, NO_DEFAULTS, MEMORY)
    assert "claude_options" in {lost.field for lost in prepared.dropped}
    found = with_wish(prepared, call)
    wish = found.call.wish
    assert wish is not None
    assert (wish.options.model, wish.owner, wish.folder) == ("opus", "alice", Path("/projects/a"))
    assert "claude_options" not in {lost.field for lost in found.dropped}
    assert b"claude_options" not in found.call.body
    wish.tell("a session")
    assert call.belongs is not None
    assert call.belongs.code_session == "a session"


def test_a_request_without_options_is_left_as_it_is() -> None:
    """Protects plain questions from becoming runs."""
    call = exchange(body())
    prepared = prepare(call, CATALOG, NO_DEFAULTS, MEMORY)
    assert with_wish(prepared, call) is prepared
    empty = _call(None)
    assert with_wish(prepared, empty) is prepared


def test_what_cannot_be_read_ends_the_request_instead_of_going_to_another_kind() -> None:
    """Protects clients from an answer that has overheard what they asked for."""
    call = _call({"tools": "Read"})
    with pytest.raises(GatewayError) as caught:
        with_wish(prepare(call, CATALOG, NO_DEFAULTS, MEMORY), call)
    assert not isinstance(caught.value, InvalidRequest)
    assert (caught.value.status, caught.value.param) == (400, "claude_options.tools")


def test_a_model_the_client_may_not_ask_for_stays_closed() -> None:
    """Protects the limits of a client key from a second way to name a model."""
    call = msgspec.structs.replace(_call({"model": "opus"}), permits=lambda model: model != "opus")
    with pytest.raises(GatewayError) as caught:
        with_wish(prepare(call, CATALOG, NO_DEFAULTS, MEMORY), call)
    assert caught.value.status in {403, 404}
