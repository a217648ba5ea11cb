"""Tools that the provider runs, or whose schema it knows: searching, fetching, code, MCP, computers.

Source: the feature pages and the API reference of Anthropic's documentation.
"""

from typing import Final

from tests.support.features.feature import PNG, SCHEMA, SEARCHED, Feature, saying, typed, use

_FOUND: Final = {
    "type": "web_search_result",
    "title": "Herons",
    "url": "https://example.com/",
    "encrypted_content": "Eo8B",
    "page_age": None,
}
_QUOTED: Final = {
    "type": "web_search_result_location",
    "url": "https://example.com/",
    "title": "Herons",
    "encrypted_index": "Eo8BCioI",
    "cited_text": "They are purple.",
}

_SEARCH: Final = Feature(
    fields={
        "tools": [
            {
                "type": "web_search_20260318",
                "name": "web_search",
                "max_uses": 3,
                "allowed_domains": ["example.com"],
                "user_location": {"type": "approximate", "city": "Graz"},
            }
        ]
    },
    content=(
        use("server_tool_use", "srvtoolu_01", "web_search", SEARCHED, caller={"type": "direct"}),
        {
            "type": "web_search_tool_result",
            "tool_use_id": "srvtoolu_01",
            "caller": {"type": "direct"},
            "content": [_FOUND],
        },
        {"type": "text", "text": "They are purple.", "citations": [_QUOTED]},
    ),
    answer={"usage": {"server_tool_use": {"web_search_requests": 1, "web_fetch_requests": 0}}},
    starts={
        0: use("server_tool_use", "srvtoolu_01", "web_search", {}, caller={"type": "direct"}),
        2: {"type": "text", "text": "", "citations": []},
    },
    deltas={
        0: typed(SEARCHED),
        2: [
            {"type": "citations_delta", "citation": _QUOTED},
            {"type": "text_delta", "text": "They are purple."},
        ],
    },
)

SERVER_TOOLS: Final[dict[str, Feature]] = {
    "web search": _SEARCH,
    "web fetch": Feature(
        fields={
            "tools": [{"type": "web_fetch_20260318", "name": "web_fetch", "citations": {"enabled": True}}]
        },
        content=(
            use("server_tool_use", "srvtoolu_02", "web_fetch", {"url": "https://example.com/"}),
            {
                "type": "web_fetch_tool_result",
                "tool_use_id": "srvtoolu_02",
                "content": {
                    "type": "web_fetch_result",
                    "url": "https://example.com/",
                    "retrieved_at": "2026-11-20T00:00:00Z",
                    "content": {"type": "document", "source": {"type": "text", "data": "Herons."}},
                },
            },
            {"type": "text", "text": "Herons."},
        ),
        answer={"usage": {"server_tool_use": {"web_search_requests": 0, "web_fetch_requests": 1}}},
    ),
    "code execution in a container": Feature(
        fields={
            "container": {"id": "container_01", "skills": [{"type": "anthropic", "skill_id": "xlsx"}]},
            "tools": [{"type": "code_execution_20260521", "name": "code_execution"}],
            "messages": saying(
                {"type": "container_upload", "file_id": "file_01"}, {"type": "text", "text": "Sum it up."}
            ),
        },
        betas=("skills-2025-10-02", "code-execution-2025-05-22"),
        content=(
            use("server_tool_use", "srvtoolu_03", "bash_code_execution", {"command": "ls"}),
            {
                "type": "bash_code_execution_tool_result",
                "tool_use_id": "srvtoolu_03",
                "content": {
                    "type": "bash_code_execution_result",
                    "stdout": "a.csv\n",
                    "stderr": "",
                    "return_code": 0,
                    "content": [{"type": "bash_code_execution_output", "file_id": "file_02"}],
                },
            },
            {"type": "container_upload", "file_id": "file_02"},
        ),
        answer={"container": {"id": "container_01", "expires_at": "2026-11-20T01:00:00Z"}},
    ),
    "MCP connector": Feature(
        fields={
            "mcp_servers": [
                {"type": "url", "name": "birds", "url": "https://example.com/mcp", "authorization_token": "t"}
            ],
            "tools": [
                {
                    "type": "mcp_toolset",
                    "mcp_server_name": "birds",
                    "default_config": {"enabled": True},
                    "configs": {"look_up": {"defer_loading": True}},
                }
            ],
        },
        betas=("mcp-client-2025-11-20",),
        content=(
            use("mcp_tool_use", "mcptoolu_01", "look_up", {"bird": "heron"}, server_name="birds"),
            {
                "type": "mcp_tool_result",
                "tool_use_id": "mcptoolu_01",
                "is_error": False,
                "content": [{"type": "text", "text": "purple"}],
            },
        ),
        deltas={0: typed({"bird": "heron"})},
    ),
    "tools with everything they can have": Feature(
        fields={
            "tools": [
                {
                    "type": "custom",
                    "name": "weather",
                    "description": "Tells.",
                    "input_schema": SCHEMA,
                    "strict": True,
                    "eager_input_streaming": True,
                    "defer_loading": True,
                    "input_examples": [{"city": "Graz"}],
                    "allowed_callers": ["direct", "code_execution_20260521"],
                },
                {"type": "tool_search_tool_bm25_20251119", "name": "tool_search_tool_bm25"},
            ],
            "tool_choice": {"type": "auto", "disable_parallel_tool_use": True},
        },
        content=(
            use("server_tool_use", "srvtoolu_04", "tool_search_tool_bm25", {"query": "sky"}),
            {
                "type": "tool_search_tool_result",
                "tool_use_id": "srvtoolu_04",
                "content": {
                    "type": "tool_search_tool_search_result",
                    "tool_references": [{"type": "tool_reference", "tool_name": "weather"}],
                },
            },
            use(
                "tool_use",
                "toolu_01",
                "weather",
                {"city": "Graz"},
                caller={"type": "code_execution_20260521", "tool_id": "srvtoolu_05"},
            ),
        ),
        answer={"stop_reason": "tool_use"},
        deltas={2: [{"type": "input_json_delta", "partial_json": '{"city": "Gr'}]},
    ),
    "tools the model knows": Feature(
        fields={
            "tools": [
                {"type": "bash_20250124", "name": "bash"},
                {
                    "type": "text_editor_20250728",
                    "name": "str_replace_based_edit_tool",
                    "max_characters": 9000,
                },
                {"type": "memory_20250818", "name": "memory"},
                {"type": "computer_toolset_20260801", "name": "computer", "display_width_px": 1024},
                {"type": "browser_toolset_20260801", "name": "browser"},
                {"type": "advisor_20260301", "name": "advisor", "model": "claude-fable-5-2"},
            ],
            "messages": [
                {"role": "user", "content": "Look"},
                {
                    "role": "assistant",
                    "content": [use("tool_use", "toolu_02", "computer", {"action": "screenshot"})],
                },
                {
                    "role": "user",
                    "content": [
                        {
                            "type": "tool_result",
                            "tool_use_id": "toolu_02",
                            "toolset_name": "computer",
                            "is_error": False,
                            "content": [{"type": "image", "source": PNG}, {"type": "text", "text": "seen"}],
                        }
                    ],
                },
            ],
        },
        betas=("computer-use-2025-11-24", "advisor-tool-2026-03-01"),
    ),
}
"""The features by name."""
