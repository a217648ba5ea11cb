"""What a prompt can hold: documents, images, marks for the cache, thinking, systems in between.

Source: the feature pages and the API reference of Anthropic's documentation.
"""

from typing import Final

from tests.support.features.feature import PNG, SCHEMA, Feature, saying

_PDF: Final = {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0xLjcK"}
_AT_CHARACTERS: Final = {
    "type": "char_location",
    "cited_text": "Grass is green.",
    "document_index": 0,
    "document_title": "Doc",
    "start_char_index": 0,
    "end_char_index": 15,
    "file_id": None,
}

PROMPTS: Final[dict[str, Feature]] = {
    "citations": Feature(
        fields={
            "messages": saying(
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
            "messages": saying(
                {"type": "image", "source": PNG},
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
            "tools": [{"name": "weather", "input_schema": SCHEMA, "cache_control": {"type": "ephemeral"}}],
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
                        {"type": "tool_addition", "tools": [{"name": "clock", "input_schema": SCHEMA}]},
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
}
"""The features by name."""
