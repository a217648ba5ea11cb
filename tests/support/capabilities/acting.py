"""Probes of tools, and of what the provider keeps or runs for its clients."""

from collections.abc import Mapping
from typing import Final

from proxy.capabilities import Feature, Front
from proxy.credentials import Kind
from tests.support.capabilities.probe import ANTHROPIC, OPENAI, QUESTION, Json, Probe, turns

_SCHEMA: Final = {"type": "object", "properties": {}, "required": [], "additionalProperties": False}
_TOLD: Final = b"Nine, says Erasmus"


def _function(name: str, *, strict: bool = False) -> Json:
    """A tool as a chat client has it."""
    function = {"name": name, "parameters": _SCHEMA, **({"strict": True} if strict else {})}
    return {"type": "function", "function": function}


def _tools(
    *, messages: Json | None = None, chat: Json | None = None, strict: bool = False
) -> Mapping[Front, Json]:
    """A tool in both dialects, with other fields beside it."""
    own = {"name": "tell_time", "input_schema": _SCHEMA, **({"strict": True} if strict else {})}
    return {
        Front.MESSAGES: {"tools": [own], **(messages or {})},
        Front.CHAT: {"tools": [_function("tell_time", strict=strict)], **(chat or {})},
    }


def _result(**more: object) -> Json:
    """A conversation in which a tool was called, as a Messages client sends it."""
    call = {"type": "tool_use", "id": "toolu_1", "name": "tell_time", "input": {}}
    answer = {"type": "tool_result", "tool_use_id": "toolu_1", "content": _TOLD.decode(), **more}
    return turns(("user", QUESTION), ("assistant", [call]), ("user", [answer]))


_CALLED: Final[Json] = {
    "messages": [
        {"role": "user", "content": QUESTION},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "call_1", "type": "function", "function": {"name": "tell_time", "arguments": "{}"}}
            ],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": _TOLD.decode()},
    ]
}
_ALLOWED: Final = {"mode": "auto", "tools": [{"type": "function", "function": {"name": "tell_time"}}]}

TOOLS: Final[Mapping[Feature, Probe]] = {
    Feature.TOOLS: Probe(asks=_tools(), token=b"tell_time"),
    Feature.FORCED_TOOLS: Probe(
        asks=_tools(messages={"tool_choice": {"type": "any"}}, chat={"tool_choice": "required"}),
        tokens={Kind.ANTHROPIC: b'"tool_choice":{"type":"any"}', Kind.OPENAI: b'"tool_choice":"required"'},
    ),
    Feature.ONE_TOOL_AT_A_TIME: Probe(
        asks=_tools(
            messages={"tool_choice": {"type": "auto", "disable_parallel_tool_use": True}},
            chat={"parallel_tool_calls": False},
        ),
        tokens={
            Kind.ANTHROPIC: b'"disable_parallel_tool_use":true',
            Kind.OPENAI: b'"parallel_tool_calls":false',
        },
    ),
    Feature.STRICT_TOOLS: Probe(asks=_tools(strict=True), token=b'"strict":true'),
    Feature.ALLOWED_TOOLS: Probe(
        asks={
            Front.CHAT: {
                "tools": [_function("tell_time"), _function("tell_lies")],
                "tool_choice": {"type": "allowed_tools", "allowed_tools": _ALLOWED},
            }
        },
        tokens={Kind.ANTHROPIC: b"system-reminder", Kind.OPENAI: b'"allowed_tools"'},
        foreign=OPENAI,
    ),
    Feature.CUSTOM_TOOLS: Probe(
        asks={Front.CHAT: {"tools": [{"type": "custom", "custom": {"name": "tell_time"}}]}},
        token=b"tell_time",
        foreign=OPENAI,
    ),
    Feature.FUNCTIONS: Probe(
        asks={Front.CHAT: {"functions": [{"name": "tell_time", "parameters": _SCHEMA}]}},
        token=b"tell_time",
        foreign=OPENAI,
    ),
    Feature.WITHHELD_TOOLS: Probe(
        asks=_tools(messages={"tool_choice": {"type": "none"}}, chat={"tool_choice": "none"}),
        token=b"tell_time",
    ),
    Feature.TOOL_HISTORY: Probe(asks={Front.MESSAGES: _result(), Front.CHAT: _CALLED}, token=_TOLD),
    Feature.TOOL_ERRORS: Probe(asks={Front.MESSAGES: _result(is_error=True)}, token=b'"is_error":true'),
    Feature.SERVER_TOOLS: Probe(
        asks={
            Front.MESSAGES: {"tools": [{"type": "web_search_20250305", "name": "web_search"}]},
            Front.CHAT: {"web_search_options": {"search_context_size": "low"}},
        },
        token=b"web_search",
        foreign=OPENAI,
    ),
}

KEPT: Final[Mapping[Feature, Probe]] = {
    Feature.CONTAINER: Probe(
        asks={Front.MESSAGES: {"container": "container_erasmus"}}, token=b"container_erasmus"
    ),
    Feature.MCP_CONNECTOR: Probe(
        asks={
            Front.MESSAGES: {
                "mcp_servers": [{"type": "url", "url": "https://tools.example/erasmus", "name": "erasmus"}]
            }
        },
        token=b"erasmus",
        betas="mcp-client-2025-11-20",
    ),
    Feature.CONTEXT_MANAGEMENT: Probe(
        asks={Front.MESSAGES: {"context_management": {"edits": [{"type": "clear_thinking_20251015"}]}}},
        token=b"clear_thinking_20251015",
        betas="context-management-2025-06-27",
    ),
    Feature.THREADS: Probe(
        asks={Front.MESSAGES: {"thread": {"type": "persistent"}}},
        token=b'"thread"',
        betas="message-threads-2026-08-12",
        foreign=ANTHROPIC,
    ),
}
