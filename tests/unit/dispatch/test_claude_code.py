"""A request made ready for Claude Code: what it loses, what it is refused for, and whose it is."""

import msgspec
import pytest

from proxy.dispatch.claude_code import for_claude_code
from proxy.dispatch.prepare import Prepared, prepare
from proxy.errors import InvalidRequest
from proxy.exchange import Exchange, Operation
from tests.unit.dispatch.building import CATALOG, CHAT, MEMORY, MODEL, NO_DEFAULTS, exchange

_USER = {"role": "user", "content": "Hello!"}
_BEGUN = [_USER, {"role": "assistant", "content": "I"}]


def _call(fields: dict[str, object], **changes: object) -> Exchange:
    body = {"model": MODEL, "max_tokens": 64, "messages": [_USER], **fields}
    return exchange(msgspec.json.encode(body), **changes)  # type: ignore[arg-type]  # fields of `Exchange`


def _ready(call: Exchange) -> Prepared:
    return for_claude_code(prepare(call, CATALOG, NO_DEFAULTS, MEMORY), call)


def test_the_client_is_told_to_the_upstream_and_nothing_else_changes() -> None:
    """Protects runs that wait for a client: the upstream has to know whose they are."""
    call = _call({})
    ready = _ready(call)
    assert ready.call.client == call.client
    assert ready.call.body is call.body
    assert ready.dropped == ()


@pytest.mark.parametrize(
    ("fields", "dialect", "told"),
    [
        ({"temperature": 0.5, "aurora": 1, "top_k": 4}, None, ["temperature", "aurora", "top_k"]),
        ({"metadata": {"user_id": "u"}, "cache_control": {"type": "ephemeral"}}, None, ["metadata"]),
        ({"user": "u"}, CHAT, ["user"]),
    ],
)
def test_what_it_does_not_send_is_told_by_the_clients_name(
    fields: dict[str, object], dialect: object, told: list[str]
) -> None:
    """Protects clients from silent losses, in the words of their own dialect."""
    ready = _ready(_call(fields, **({} if dialect is None else {"dialect": dialect})))
    assert [one.field for one in ready.dropped] == told


def test_what_it_cannot_be_asked_is_refused_before_it_is_asked() -> None:
    """Protects requests that another credential can answer from ending at this one."""
    with pytest.raises(InvalidRequest) as caught:
        _ready(_call({"messages": _BEGUN}))
    assert caught.value.param == "messages"
    assert caught.value.message.startswith("messages: ")


def test_what_cannot_be_read_and_what_is_only_counted_goes_on_as_it_is() -> None:
    """Protects the order of things: the upstream says what is wrong, and a count answers nothing."""
    odd = _call({"messages": [{"role": "narrator", "content": 1}], "aurora": 1})
    assert _ready(odd).call.body is odd.body
    assert _ready(_call({"messages": _BEGUN}, operation=Operation.COUNT_TOKENS)).dropped == ()
