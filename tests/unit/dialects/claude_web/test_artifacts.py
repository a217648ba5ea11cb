"""Artifacts as fenced code."""

import msgspec
import pytest

from proxy.dialects.claude_web.artifacts import Artifacts


def _shown(artifacts: Artifacts, **call: str) -> str:
    return artifacts.shown(msgspec.json.encode(call).decode())


@pytest.mark.parametrize(
    ("call", "text"),
    [
        ({"content": "x\n", "language": "python"}, "\n\n```python\nx\n```\n"),
        ({"content": "x", "type": "text/html"}, "\n\n```html\nx\n```\n"),
        ({"content": "x", "type": "application/vnd.ant.code"}, "\n\n```\nx\n```\n"),
        ({"content": "x", "language": "a b\nc"}, "\n\n```\nx\n```\n"),
        ({"file_text": "x", "path": "/a/b.rs"}, "\n\n```rs\nx\n```\n"),
        ({"content": "```\ny\n`````", "language": "md"}, "\n\n``````md\n```\ny\n`````\n``````\n"),
        ({"content": ""}, ""),
        ({"command": "view"}, ""),
    ],
)
def test_content_stands_in_a_fence_that_nothing_in_it_can_close(call: dict[str, str], text: str) -> None:
    """Protects clients that show Markdown."""
    assert _shown(Artifacts(), **call) == text


def test_a_change_shows_the_whole() -> None:
    """Protects readers from half a program."""
    artifacts = Artifacts()
    _shown(artifacts, id="a", content="one two")
    assert "one 2" in _shown(artifacts, id="a", old_str="two", new_str="2")
    assert "1 2" in _shown(artifacts, id="a", old_str="one", new_str="1")
    assert _shown(artifacts, id="b", old_str="one", new_str="new") == "\n\n```\nnew\n```\n"


@pytest.mark.parametrize("arguments", ["", "{", "[]", '{"content":5}', "[" * 5000])
def test_arguments_that_cannot_be_read_show_nothing(arguments: str) -> None:
    """Protects the rest of the answer."""
    assert Artifacts().shown(arguments) == ""


def test_only_some_of_the_sites_tools_write_artifacts() -> None:
    """Protects answers from the inside of searches."""
    names = ("artifacts", "create_file", "web_search", "repl", "")
    assert [Artifacts.made_by(name) for name in names] == [True, True, False, False, False]
