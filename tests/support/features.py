"""What the Messages API can be asked for and can answer, feature by feature, as bytes of requests and answers.

Source: the feature pages, the API reference and the streaming page of Anthropic's documentation.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec

from proxy.dialects.sse import encode_frame

MODEL: Final = "claude-opus-5"
ALIAS: Final = "an-operators-own-name"
Json = dict[str, object]


@dataclass(frozen=True, slots=True)
class Feature:
    """One feature in use.

    Attributes:
        fields: top-level fields of the request, added to the smallest one.
        content: the blocks of the answer.
        betas: values of ``anthropic-beta``.
        answer: top-level fields of the answer, and of its usage under ``usage``, in place of the plain ones.
        deltas: for each block that has some, the deltas a stream brings it in.
        starts: for each block that differs there, the block as it stands in its start event.
    """

    fields: Json
    content: Sequence[Json] = ({"type": "text", "text": "Done."},)
    betas: tuple[str, ...] = ()
    answer: Json = field(default_factory=dict)
    deltas: dict[int, list[Json]] = field(default_factory=dict)
    starts: dict[int, Json] = field(default_factory=dict)

    def request(self, model: str, *, stream: bool, counting: bool = False) -> bytes:
        """The request's body, without blanks; to count tokens it has fewer fields."""
        body: Json = {"model": model, "messages": [{"role": "user", "content": "Go on. \u00e9\u2028"}]}
        if not counting:
            body |= {"max_tokens": 4096, "stream": stream}
        return msgspec.json.encode(body | self.fields)

    def whole(self) -> bytes:
        """The answer to a request without ``stream``."""
        return msgspec.json.encode(self._message(list(self.content)))

    def streamed(self) -> bytes:
        """The same answer as a stream."""
        message = self._message([])
        ended = {name: message.pop(name) for name in ("stop_reason", "stop_sequence", "stop_details")}
        container = {"container": message.pop("container")} if "container" in message else {}
        edited = {name: message.pop(name) for name in ("context_management",) if name in message}
        events: list[Json] = [
            {"type": "message_start", "message": message | dict.fromkeys(ended)},
            {"type": "ping"},
        ]
        for index, block in enumerate(self.content):
            start = self.starts.get(index, block)
            events.append({"type": "content_block_start", "index": index, "content_block": start})
            events += [
                {"type": "content_block_delta", "index": index, "delta": delta}
                for delta in self.deltas.get(index, ())
            ]
            events.append({"type": "content_block_stop", "index": index})
        usage = message["usage"]
        events.append({"type": "message_delta", "delta": ended | container, "usage": usage} | edited)
        events.append({"type": "message_stop"})
        return b"".join(encode_frame(msgspec.json.encode(one), str(one["type"])) for one in events)

    def _message(self, content: list[Json]) -> Json:
        changed = dict(self.answer)
        usage = changed.pop("usage", {})
        counted = {"input_tokens": 12, "output_tokens": 34, "service_tier": "standard"}
        plain: Json = {
            "id": "msg_01feature",
            "type": "message",
            "role": "assistant",
            "model": MODEL,
            "content": content,
            "stop_reason": "end_turn",
            "stop_sequence": None,
            "stop_details": None,
            "usage": counted | (usage if isinstance(usage, dict) else {}),
        }
        return plain | changed


def _saying(*blocks: object) -> list[object]:
    return [{"role": "user", "content": list(blocks)}]


_PDF: Final = {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0xLjcK"}
_PNG: Final = {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}
_SCHEMA: Final = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
_SEARCHED: Final = {"query": "purple herons"}
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
_AT_CHARACTERS: Final = {
    "type": "char_location",
    "cited_text": "Grass is green.",
    "document_index": 0,
    "document_title": "Doc",
    "start_char_index": 0,
    "end_char_index": 15,
    "file_id": None,
}


def _use(kind: str, identifier: str, name: str, arguments: Json, **more: object) -> Json:
    return {"type": kind, "id": identifier, "name": name, "input": arguments, **more}


def _typed(arguments: Json) -> list[Json]:
    text = msgspec.json.encode(arguments).decode()
    parts = ("", text[:5], text[5:])
    return [{"type": "input_json_delta", "partial_json": part} for part in parts]


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
        _use("server_tool_use", "srvtoolu_01", "web_search", _SEARCHED, caller={"type": "direct"}),
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
        0: _use("server_tool_use", "srvtoolu_01", "web_search", {}, caller={"type": "direct"}),
        2: {"type": "text", "text": "", "citations": []},
    },
    deltas={
        0: _typed(_SEARCHED),
        2: [
            {"type": "citations_delta", "citation": _QUOTED},
            {"type": "text_delta", "text": "They are purple."},
        ],
    },
)

FEATURES: Final[dict[str, Feature]] = {
    "web search": _SEARCH,
    "web fetch": Feature(
        fields={
            "tools": [{"type": "web_fetch_20260318", "name": "web_fetch", "citations": {"enabled": True}}]
        },
        content=(
            _use("server_tool_use", "srvtoolu_02", "web_fetch", {"url": "https://example.com/"}),
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
            "messages": _saying(
                {"type": "container_upload", "file_id": "file_01"}, {"type": "text", "text": "Sum it up."}
            ),
        },
        betas=("skills-2025-10-02", "code-execution-2025-05-22"),
        content=(
            _use("server_tool_use", "srvtoolu_03", "bash_code_execution", {"command": "ls"}),
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
            _use("mcp_tool_use", "mcptoolu_01", "look_up", {"bird": "heron"}, server_name="birds"),
            {
                "type": "mcp_tool_result",
                "tool_use_id": "mcptoolu_01",
                "is_error": False,
                "content": [{"type": "text", "text": "purple"}],
            },
        ),
        deltas={0: _typed({"bird": "heron"})},
    ),
    "citations": Feature(
        fields={
            "messages": _saying(
                {
                    "type": "document",
                    "source": {"type": "text", "media_type": "text/plain", "data": "Grass is green."},
                    "title": "Doc",
                    "context": "botany",
                    "citations": {"enabled": True},
                    "cache_control": {"type": "ephemeral"},
                },
                {"type": "document", "source": _PDF, "citations": {"enabled": True}},
                {"type": "document", "source": {"type": "file", "file_id": "file_01"}},
                {
                    "type": "document",
                    "source": {"type": "content", "content": [{"type": "text", "text": "One."}]},
                },
                {
                    "type": "search_result",
                    "source": "https://example.com/",
                    "title": "T",
                    "content": [{"type": "text", "text": "Grass."}],
                    "citations": {"enabled": True},
                },
                {"type": "text", "text": "What colour?"},
            )
        },
        content=({"type": "text", "text": "Green.", "citations": [_AT_CHARACTERS]},),
        starts={0: {"type": "text", "text": "", "citations": []}},
        deltas={
            0: [
                {"type": "text_delta", "text": "Green."},
                {"type": "citations_delta", "citation": _AT_CHARACTERS},
            ]
        },
    ),
    "images and PDFs from everywhere": Feature(
        fields={
            "messages": _saying(
                {"type": "image", "source": _PNG},
                {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}},
                {"type": "image", "source": {"type": "file", "file_id": "file_03"}},
                {"type": "document", "source": {"type": "url", "url": "https://example.com/a.pdf"}},
                {"type": "text", "text": "Compare."},
            )
        },
    ),
    "prompt caching": Feature(
        fields={
            "cache_control": {"type": "ephemeral", "ttl": "1h"},
            "system": [
                {"type": "text", "text": "Be kind.", "cache_control": {"type": "ephemeral", "ttl": "5m"}}
            ],
            "tools": [{"name": "weather", "input_schema": _SCHEMA, "cache_control": {"type": "ephemeral"}}],
            "diagnostics": {"previous_message_id": None},
        },
        betas=("cache-diagnosis-2026-04-07",),
        answer={
            "usage": {
                "cache_creation_input_tokens": 2048,
                "cache_read_input_tokens": 512,
                "cache_creation": {"ephemeral_5m_input_tokens": 2048, "ephemeral_1h_input_tokens": 0},
            },
            "diagnostics": {"cache_miss_reason": None},
        },
    ),
    "effort and task budget": Feature(
        fields={
            "output_config": {
                "effort": "xhigh",
                "task_budget": {"type": "tokens", "total": 20000, "remaining": 9000},
            },
            "thinking": {"type": "adaptive", "display": "updates"},
        },
        betas=("task-budgets-2026-03-13", "thinking-display-updates-2026-08-18"),
        answer={"usage": {"output_tokens_details": {"thinking_tokens": 31}}},
    ),
    "thinking, shown, counted and redacted": Feature(
        fields={
            "thinking": {
                "type": "adaptive",
                "display": "summarized",
                "block_binding": {"prefix_mismatch_behavior": "drop_block"},
            },
            "messages": [
                {"role": "user", "content": "One"},
                {
                    "role": "assistant",
                    "content": [
                        {"type": "thinking", "thinking": "Hm.", "signature": "EqQBFAKESIGNATURE=="},
                        {"type": "redacted_thinking", "data": "EmwKAhgB"},
                        {"type": "text", "text": "Two"},
                    ],
                },
                {"role": "user", "content": "Three"},
            ],
        },
        betas=("thinking-binding-controls-2026-08-01", "thinking-token-count-2026-05-13"),
        content=(
            {"type": "thinking", "thinking": "Aha.", "signature": "EqQBANOTHER=="},
            {"type": "redacted_thinking", "data": "EmwKAhgBEgyFAKEDATA"},
            {"type": "text", "text": "Four"},
        ),
        starts={0: {"type": "thinking", "thinking": "", "signature": ""}, 2: {"type": "text", "text": ""}},
        deltas={
            0: [
                {"type": "thinking_delta", "thinking": "", "estimated_tokens": 50},
                {"type": "thinking_delta", "thinking": "Aha.", "estimated_tokens": 60},
                {"type": "signature_delta", "signature": "EqQBANOTHER=="},
            ],
            2: [{"type": "text_delta", "text": "Four"}],
        },
        answer={"input_transformations": [{"type": "thinking_dropped", "message_index": 1}]},
    ),
    "structured output": Feature(
        fields={"output_config": {"format": {"type": "json_schema", "schema": _SCHEMA}}},
        content=({"type": "text", "text": '{"city":"Graz"}'},),
    ),
    "system within the conversation": Feature(
        fields={
            "messages": [
                {"role": "user", "content": "One"},
                {"role": "system", "content": [], "output_config": {"effort": "low"}},
                {"role": "assistant", "content": "Two"},
                {
                    "role": "system",
                    "content": [{"type": "text", "text": "Be brief."}],
                    "clear_at": {"type": "turns", "value": 2},
                },
                {
                    "role": "system",
                    "content": [
                        {"type": "tool_addition", "tools": [{"name": "clock", "input_schema": _SCHEMA}]},
                        {"type": "tool_removal", "tool_names": ["weather"]},
                    ],
                },
                {"role": "user", "content": "Three"},
            ]
        },
        betas=(
            "mid-conversation-tool-changes-2026-07-01",
            "mid-conversation-output-config-2026-07-01",
            "mid-conversation-system-clear-at-2026-08-21",
        ),
    ),
    "tools with everything they can have": Feature(
        fields={
            "tools": [
                {
                    "type": "custom",
                    "name": "weather",
                    "description": "Tells.",
                    "input_schema": _SCHEMA,
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
            _use("server_tool_use", "srvtoolu_04", "tool_search_tool_bm25", {"query": "sky"}),
            {
                "type": "tool_search_tool_result",
                "tool_use_id": "srvtoolu_04",
                "content": {
                    "type": "tool_search_tool_search_result",
                    "tool_references": [{"type": "tool_reference", "tool_name": "weather"}],
                },
            },
            _use(
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
                    "content": [_use("tool_use", "toolu_02", "computer", {"action": "screenshot"})],
                },
                {
                    "role": "user",
                    "content": [
                        {
                            "type": "tool_result",
                            "tool_use_id": "toolu_02",
                            "toolset_name": "computer",
                            "is_error": False,
                            "content": [{"type": "image", "source": _PNG}, {"type": "text", "text": "seen"}],
                        }
                    ],
                },
            ],
        },
        betas=("computer-use-2025-11-24", "advisor-tool-2026-03-01"),
    ),
    "context management": Feature(
        fields={
            "context_management": {
                "edits": [
                    {"type": "clear_thinking_20251015", "keep": "all"},
                    {
                        "type": "clear_tool_uses_20250919",
                        "trigger": {"type": "input_tokens", "value": 30000},
                        "keep": {"type": "tool_uses", "value": 3},
                        "exclude_tools": ["memory"],
                    },
                ]
            }
        },
        betas=("context-management-2025-06-27",),
        answer={
            "context_management": {
                "applied_edits": [
                    {
                        "type": "clear_tool_uses_20250919",
                        "cleared_tool_uses": 8,
                        "cleared_input_tokens": 50000,
                    }
                ]
            }
        },
    ),
    "compaction": Feature(
        fields={"compaction": {"type": "auto", "trigger": {"type": "input_tokens", "value": 150000}}},
        betas=("compact-2026-09-04",),
        content=({"type": "compaction", "content": "So far.", "encrypted_content": "Eo8B"},),
        starts={0: {"type": "compaction", "content": None, "encrypted_content": None}},
        deltas={0: [{"type": "compaction_delta", "content": "So far.", "encrypted_content": "Eo8B"}]},
        answer={
            "stop_reason": "compaction",
            "usage": {"iterations": [{"type": "compaction", "input_tokens": 9, "output_tokens": 9}]},
        },
    ),
    "server-side fallback": Feature(
        fields={"fallbacks": "default", "fallback_credit_token": "fct_01"},
        betas=("server-side-fallback-2026-07-01", "fallback-credit-2026-07-01"),
        content=(
            {"type": "fallback", "from": {"model": "claude-fable-5-2"}, "to": {"model": MODEL}},
            {"type": "text", "text": "Done."},
        ),
    ),
    "fast, priced and placed": Feature(
        fields={
            "speed": "fast",
            "service_tier": "standard_only",
            "inference_geo": "us",
            "metadata": {"user_id": "7d1c"},
            "billing_policy": {"type": "user_profile"},
            "thread": {"id": "thread_01"},
        },
        betas=("fast-mode-2026-02-01", "message-threads-2026-08-12", "user-profiles-billing-2026-10-01"),
        answer={"usage": {"speed": "fast", "service_tier": "priority", "inference_geo": "us"}},
    ),
    "a refusal without a word": Feature(
        fields={"temperature": 1.0, "top_p": 0.99, "top_k": 5, "stop_sequences": ["\u2028"]},
        content=(),
        answer={
            "stop_reason": "refusal",
            "stop_details": {"type": "refusal", "category": "cyber", "explanation": None},
        },
    ),
    "a refusal after some words": Feature(
        fields={"system": "Be careful."},
        answer={"stop_reason": "refusal", "stop_details": None},
        starts={0: {"type": "text", "text": ""}},
        deltas={0: [{"type": "text_delta", "text": "Done."}]},
    ),
    "a full context window": Feature(fields={}, answer={"stop_reason": "model_context_window_exceeded"}),
    "a turn that pauses": Feature(
        fields={
            "messages": [
                {"role": "user", "content": "Search on"},
                {
                    "role": "assistant",
                    "content": [_use("server_tool_use", "srvtoolu_06", "web_search", _SEARCHED)],
                },
            ],
            "tools": [{"type": "web_search_20250305", "name": "web_search"}],
        },
        content=(_use("server_tool_use", "srvtoolu_07", "web_search", _SEARCHED),),
        answer={"stop_reason": "pause_turn"},
    ),
    "a stop sequence": Feature(
        fields={"stop_sequences": ["STOP"]},
        answer={"stop_reason": "stop_sequence", "stop_sequence": "STOP"},
    ),
    "what nobody has heard of yet": Feature(
        fields={
            "aurora": {"b": [1.5, -0.0, 1e300, 12345678901234567890], "a": None},
            "tools": [{"type": "aurora_20270101", "name": "aurora", "max": 18446744073709551615}],
            "messages": _saying({"type": "aurora", "\u00e9": {"deep": [[[]]]}}),
        },
        betas=("aurora-2027-01-01",),
        content=({"type": "aurora", "light": 1.0}, {"type": "text", "text": "Done."}),
        deltas={0: [{"type": "aurora_delta", "light": 0.5}]},
        answer={"stop_reason": "dawn", "aurora": [True, False], "usage": {"photons": 3, "lights": {"a": 1}}},
    ),
}
"""The features by name."""
