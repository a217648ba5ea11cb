"""How an answer is made and how it ends: effort, formats, contexts, speed, refusals, pauses, and what is unheard of.

Source: the feature pages and the API reference of Anthropic's documentation.
"""

from typing import Final

from tests.support.features.feature import MODEL, SCHEMA, SEARCHED, Feature, saying, use

OUTCOMES: Final[dict[str, Feature]] = {
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
    "structured output": Feature(
        fields={"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}},
        content=({"type": "text", "text": '{"city":"Graz"}'},),
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
                    "content": [use("server_tool_use", "srvtoolu_06", "web_search", SEARCHED)],
                },
            ],
            "tools": [{"type": "web_search_20250305", "name": "web_search"}],
        },
        content=(use("server_tool_use", "srvtoolu_07", "web_search", SEARCHED),),
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
            "messages": saying({"type": "aurora", "\u00e9": {"deep": [[[]]]}}),
        },
        betas=("aurora-2027-01-01",),
        content=({"type": "aurora", "light": 1.0}, {"type": "text", "text": "Done."}),
        deltas={0: [{"type": "aurora_delta", "light": 0.5}]},
        answer={"stop_reason": "dawn", "aurora": [True, False], "usage": {"photons": 3, "lights": {"a": 1}}},
    ),
}
"""The features by name."""
