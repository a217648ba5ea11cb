"""Rows: tools, and whatever the provider keeps or runs for its clients.

Sources: "Tool use" and the pages of its server tools in Anthropic's documentation; "Function calling" in OpenAI's.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from proxy.capabilities.cells import dropped, emulated, refused, row
from proxy.capabilities.feature import Cell, Feature, Front, Row, Verdict

_NO_TOOLS: Final = refused("tools")
_ALLOWED: Final = "tool_choice.allowed_tools.tools"
_ASKED_IN_WORDS: Final = Cell(Verdict.EMULATED, _ALLOWED, "a sentence; all tools stay offered, which is told")

TOOLS: Final[Mapping[Feature, Row]] = MappingProxyType(
    {
        Feature.TOOLS: row("Tools of the client's", messages="tools", chat="tools", web=_NO_TOOLS),
        Feature.FORCED_TOOLS: row(
            "Calls that have to be made", messages="tool_choice", chat="tool_choice", web=_NO_TOOLS
        ),
        Feature.ONE_TOOL_AT_A_TIME: row(
            "One call at a time",
            messages="tool_choice.disable_parallel_tool_use",
            chat="parallel_tool_calls",
            web=_NO_TOOLS,
        ),
        Feature.STRICT_TOOLS: row(
            "Arguments kept to a schema",
            messages="tools[].strict",
            chat="tools[].function.strict",
            web=_NO_TOOLS,
        ),
        Feature.ALLOWED_TOOLS: row(
            "Only some of the tools",
            chat=_ALLOWED,
            asked={Front.CHAT: _ASKED_IN_WORDS},
            web=_NO_TOOLS,
        ),
        Feature.CUSTOM_TOOLS: row("Tools that take plain text", chat="tools[].custom", web=_NO_TOOLS),
        Feature.FUNCTIONS: row("Functions of the style before tools", chat="functions", web=_NO_TOOLS),
        Feature.WITHHELD_TOOLS: row(
            "Tools that may not be called", messages="tool_choice", chat="tool_choice", web=dropped("tools")
        ),
        Feature.TOOL_HISTORY: row(
            "Calls and results of earlier turns",
            messages="messages[].content[]",
            chat="messages[].tool_calls",
            web=emulated("words in the prompt"),
        ),
        Feature.TOOL_ERRORS: row(
            "Results that are errors",
            messages="messages[].content[].is_error",
            web=dropped("messages[].content[].is_error", "the result itself is told in words"),
            openai=dropped("messages[].content[].is_error", "the result itself is carried"),
        ),
        Feature.SERVER_TOOLS: row(
            "Tools the provider runs",
            messages="tools",
            chat="web_search_options",
            web=_NO_TOOLS,
            openai=dropped("tools[]"),
        ),
    }
)

KEPT: Final[Mapping[Feature, Row]] = MappingProxyType(
    {
        Feature.CONTAINER: row(
            "Containers",
            messages="container",
            web=dropped("container"),
            openai=dropped("container"),
            code=refused("container"),
        ),
        Feature.MCP_CONNECTOR: row(
            "MCP connector",
            messages="mcp_servers",
            web=refused("mcp_servers"),
            openai=dropped("mcp_servers"),
            code=refused("mcp_servers"),
        ),
        Feature.CONTEXT_MANAGEMENT: row(
            "Context management",
            messages="context_management",
            web=dropped("context_management"),
            openai=dropped("context_management"),
        ),
        Feature.THREADS: row(
            "Message threads",
            messages="thread",
            web=refused("thread"),
            openai=refused("thread"),
            code=refused("thread"),
        ),
    }
)
