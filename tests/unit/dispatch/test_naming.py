"""Fields by the names the client gave them."""

import pytest

from proxy.dialects.common import Dialect, Dropped
from proxy.dispatch.naming import dropped_by_name, refused_by_name
from proxy.errors import InvalidRequest
from tests.unit.dispatch.building import ANTHROPIC, CHAT, exchange

_FILE = "messages[3].content[0].source.type"


@pytest.mark.parametrize(
    ("dialect", "field", "param", "message"),
    [
        (ANTHROPIC, "tools", "tools", "tools: No."),
        (ANTHROPIC, "output_config.format", "output_config.format", "output_config.format: No."),
        (ANTHROPIC, _FILE, _FILE, f"{_FILE}: No."),
        (ANTHROPIC, None, None, "No."),
        (CHAT, "tools", "tools", "No."),
        (CHAT, "output_config.format", "response_format", "No."),
        (CHAT, "stop_sequences[1]", "stop", "No."),
        (CHAT, _FILE, "messages", "No."),
        (CHAT, "something_new", "something_new", "No."),
        (CHAT, None, None, "No."),
    ],
)
def test_a_refusal_names_the_field_where_its_client_looks_for_it(
    dialect: Dialect, field: str | None, param: str | None, message: str
) -> None:
    """Protects people from a field they never sent; one envelope has a place for it, the other only the message."""
    refused = InvalidRequest("No.", param=field, code="unsupported_parameter")
    told = refused_by_name(exchange(dialect=dialect), refused)
    assert (told.status, told.param, told.message, told.code) == (400, param, message, refused.code)


@pytest.mark.parametrize(
    ("dialect", "field", "told"),
    [
        (ANTHROPIC, "output_config.effort", "output_config.effort"),
        (CHAT, "output_config.effort", "reasoning_effort"),
        (CHAT, "thinking.budget_tokens", "reasoning_effort"),
        (CHAT, "metadata", "user"),
        (CHAT, "temperature", "temperature"),
        (CHAT, "cache_control", "cache_control"),
        (CHAT, "messages.thinking", "messages.thinking"),
    ],
)
def test_a_loss_has_the_name_its_client_gave_it(dialect: Dialect, field: str, told: str) -> None:
    """Protects the list of what was dropped: it is of use only to whoever knows the names in it."""
    lost = dropped_by_name(exchange(dialect=dialect), (Dropped(field, "why"),))
    assert lost == (Dropped(told, "why"),)
