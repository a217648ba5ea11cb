"""What becomes of messages, content parts and tools."""

from proxy.dialects.common import AnswerForm
from tests.unit.dialects.openai_chat.rows import (
    ALLOWED,
    CALL,
    CLOSED,
    HAIKU_45,
    HELLO,
    OPUS_5,
    PDF,
    PNG,
    SCHEMA,
    STRICT_F,
    TOOL,
    TOOL_G,
    F,
    G,
    Row,
    reminder,
    said,
    text_block,
    turns,
    user,
    with_schema,
)

MESSAGE_ROWS: dict[str, Row] = {
    "system first": Row(
        sent=turns({"role": "system", "content": "s"}, {"role": "developer", "content": "d"}, HELLO),
        up={"system": [text_block("s"), text_block("d")]},
    ),
    "system later": Row(
        sent=turns(HELLO, {"role": "system", "content": "s"}),
        up=turns(said(text_block("hi")), said(text_block("s"), role="system")),
    ),
    "system later, not taken": Row(
        sent=turns(HELLO, {"role": "system", "content": "s"}),
        up=turns(said(text_block("hi"), reminder("s"))),
        model="claude-sonnet-5",
    ),
    "system later, out of place": Row(
        sent=turns(HELLO, {"role": "system", "content": "s"}, HELLO),
        up=turns(said(text_block("hi"), reminder("s"), text_block("hi"))),
    ),
    "assistant first": Row(
        sent=turns({"role": "assistant", "content": "a"}, HELLO),
        up=turns(
            said(text_block("(conversation start)")),
            said(text_block("a"), role="assistant"),
            said(text_block("hi")),
        ),
    ),
    "assistant last": Row(
        sent=turns(HELLO, {"role": "assistant", "content": "a "}),
        up=turns(said(text_block("hi")), said(text_block("a"), role="assistant")),
        model=HAIKU_45,
    ),
    "assistant last, not taken": Row(
        sent=turns(HELLO, {"role": "assistant", "content": "a"}),
        up=turns(
            said(text_block("hi")),
            said(text_block("a"), role="assistant"),
            said(text_block("Continue exactly from where the previous message stopped.")),
        ),
    ),
    "assistant last with a schema": Row(
        sent={**turns(HELLO, {"role": "assistant", "content": "a"}), **with_schema(SCHEMA)},
        up={
            **turns(
                said(text_block("hi")),
                said(text_block("a"), role="assistant"),
                said(text_block("Continue exactly from where the previous message stopped.")),
            ),
            "output_config": {"format": {"type": "json_schema", "schema": CLOSED}},
        },
        model=HAIKU_45,
    ),
    "assistant refusal": Row(
        sent=turns(HELLO, {"role": "assistant", "refusal": "no"}, HELLO),
        up=turns(said(text_block("hi")), said(text_block("no"), role="assistant"), said(text_block("hi"))),
    ),
    "assistant audio": Row(
        sent=turns(HELLO, {"role": "assistant", "content": "a", "audio": {"id": "x"}}, HELLO),
        up=turns(said(text_block("hi")), said(text_block("a"), role="assistant"), said(text_block("hi"))),
        dropped=("messages[1].audio",),
    ),
    "name": Row(sent=turns({**HELLO, "name": "Ann"}), dropped=("messages[0].name",)),
    "consecutive": Row(sent=turns(HELLO, HELLO), up=turns(said(text_block("hi"), text_block("hi")))),
    "blank": Row(sent=turns({"role": "user", "content": " "}), up=turns(said(text_block("(no content)")))),
    "tool and results": Row(
        sent={
            **turns(
                HELLO,
                {"role": "assistant", "content": "t", "tool_calls": [CALL, {**CALL, "id": "b:1"}]},
                {"role": "tool", "tool_call_id": "b:1", "content": "2"},
                {"role": "tool", "tool_call_id": "a", "content": "1"},
                {"role": "user", "content": "go on"},
            ),
            "tools": [F],
        },
        up={
            **turns(
                said(text_block("hi")),
                said(
                    text_block("t"),
                    {"type": "tool_use", "id": "a", "name": "f", "input": {"x": 1}},
                    {"type": "tool_use", "id": "b_1_34457157", "name": "f", "input": {"x": 1}},
                    role="assistant",
                ),
                said(
                    {"type": "tool_result", "tool_use_id": "b_1_34457157", "content": [text_block("2")]},
                    {"type": "tool_result", "tool_use_id": "a", "content": [text_block("1")]},
                    text_block("go on"),
                ),
            ),
            "tools": [TOOL],
        },
    ),
    "tool without its result, and a result without its call": Row(
        sent={
            **turns(
                HELLO,
                {"role": "assistant", "tool_calls": [CALL]},
                {"role": "tool", "tool_call_id": "zzz", "content": "r"},
            ),
            "tools": [F],
        },
        up={
            **turns(
                said(text_block("hi")),
                said({"type": "tool_use", "id": "a", "name": "f", "input": {"x": 1}}, role="assistant"),
                said(
                    {
                        "type": "tool_result",
                        "tool_use_id": "a",
                        "content": [text_block("no result supplied")],
                        "is_error": True,
                    },
                    text_block("r"),
                ),
            ),
            "tools": [TOOL],
        },
    ),
    "history with calls, no tools": Row(
        sent=turns(
            HELLO,
            {"role": "assistant", "tool_calls": [CALL]},
            {"role": "tool", "tool_call_id": "a", "content": "r"},
        ),
        up={
            **turns(
                said(text_block("hi")),
                said({"type": "tool_use", "id": "a", "name": "f", "input": {"x": 1}}, role="assistant"),
                said({"type": "tool_result", "tool_use_id": "a", "content": [text_block("r")]}),
            ),
            "tools": [{"name": "f", "input_schema": {"type": "object"}}],
            "tool_choice": {"type": "none"},
        },
    ),
    "function role": Row(
        sent={
            **turns(
                HELLO,
                {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": ""}},
                {"role": "function", "name": "f", "content": "r"},
            ),
            "functions": [{"name": "f"}],
        },
        up={
            **turns(
                said(text_block("hi")),
                said({"type": "tool_use", "id": "function_f", "name": "f", "input": {}}, role="assistant"),
                said({"type": "tool_result", "tool_use_id": "function_f", "content": [text_block("r")]}),
            ),
            "tools": [TOOL],
            "tool_choice": {"type": "auto", "disable_parallel_tool_use": True},
        },
        form=AnswerForm(legacy_call=True),
    ),
    # parts
    "image by URL": Row(
        sent=user({"type": "image_url", "image_url": {"url": "https://h/a"}}),
        up=turns(said({"type": "image", "source": {"type": "url", "url": "https://h/a"}})),
    ),
    "image by data URL": Row(
        sent=user({"type": "image_url", "image_url": {"url": PNG, "detail": "low"}}),
        up=turns(
            said(
                {
                    "type": "image",
                    "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="},
                }
            )
        ),
        dropped=("messages[0].content[0].image_url.detail",),
    ),
    "image by file id": Row(
        sent=user({"type": "image_url", "image_url": {"file_id": "file_1"}}),
        up=turns(said({"type": "image", "source": {"type": "file", "file_id": "file_1"}})),
    ),
    "image of no known type": Row(
        sent=user({"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}),
        refused="messages[0].content[0].image_url.url",
    ),
    "audio part": Row(
        sent=user({"type": "input_audio", "input_audio": {}}), refused="messages[0].content[0].input_audio"
    ),
    "PDF": Row(
        sent=user({"type": "file", "file": {"file_data": PDF, "filename": "a.pdf"}}),
        up=turns(
            said(
                {
                    "type": "document",
                    "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0xLjc="},
                    "title": "a.pdf",
                }
            )
        ),
    ),
    "text file": Row(
        sent=user({"type": "file", "file": {"file_data": "data:text/csv;base64,YSxi"}}),
        up=turns(
            said({"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "a,b"}})
        ),
    ),
    "file by id": Row(
        sent=user({"type": "file", "file": {"file_id": "file_1"}}),
        up=turns(said({"type": "document", "source": {"type": "file", "file_id": "file_1"}})),
    ),
    "file of another provider's": Row(
        sent=user({"type": "file", "file": {"file_id": "file-1"}}),
        refused="messages[0].content[0].file.file_id",
    ),
    "file by URL": Row(
        sent=user({"type": "file", "file": {"file_url": "https://h/a.pdf"}}),
        up=turns(said({"type": "document", "source": {"type": "url", "url": "https://h/a.pdf"}})),
    ),
    # tools
    "tool": Row(sent={"tools": [F]}, up={"tools": [TOOL]}),
    "strict tool": Row(
        sent={"tools": [STRICT_F]}, up={"tools": [{"name": "f", "input_schema": CLOSED, "strict": True}]}
    ),
    "custom tool": Row(
        sent={"tools": [G], "tool_choice": {"type": "custom", "custom": {"name": "g"}}},
        up={"tools": [TOOL_G], "tool_choice": {"type": "tool", "name": "g"}},
        model=OPUS_5,
        form=AnswerForm(custom_tools=frozenset(("g",))),
    ),
    "tool_choice auto": Row(
        sent={"tools": [F], "tool_choice": "auto"}, up={"tools": [TOOL], "tool_choice": {"type": "auto"}}
    ),
    "tool_choice none": Row(
        sent={"tools": [F], "tool_choice": "none"}, up={"tools": [TOOL], "tool_choice": {"type": "none"}}
    ),
    "tool_choice required": Row(
        sent={"tools": [F], "tool_choice": "required"},
        up={"tools": [TOOL], "tool_choice": {"type": "any"}},
        model=OPUS_5,
    ),
    "tool_choice required, not taken": Row(
        sent={"tools": [F], "tool_choice": "required"},
        up={
            **turns(said(text_block("hi"), reminder("Answer by calling at least one of your tools."))),
            "tools": [TOOL],
            "tool_choice": {"type": "auto"},
        },
        dropped=("tool_choice",),
    ),
    "tool_choice with manual thinking": Row(
        sent={"tools": [F], "tool_choice": "required", "reasoning_effort": "low"},
        up={"tools": [TOOL], "tool_choice": {"type": "any"}},
        dropped=("reasoning_effort",),
        model=HAIKU_45,
    ),
    "allowed_tools of one": Row(
        sent={"tools": [F, G], "tool_choice": ALLOWED},
        up={"tools": [TOOL, TOOL_G], "tool_choice": {"type": "tool", "name": "f"}},
        model=OPUS_5,
        form=AnswerForm(custom_tools=frozenset(("g",))),
    ),
    "allowed_tools": Row(
        sent={
            "tools": [F, G],
            "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [F]}},
        },
        up={
            **turns(said(text_block("hi"), reminder("Of your tools call none but these: f."))),
            "tools": [TOOL, TOOL_G],
            "tool_choice": {"type": "auto"},
        },
        dropped=("tool_choice.allowed_tools.tools",),
        form=AnswerForm(custom_tools=frozenset(("g",))),
    ),
}
