"""A history written as the program keeps its own."""

from pathlib import Path

import msgspec

from proxy.model.content import TextBlock
from proxy.model.request import InputMessage
from proxy.upstreams.claude_code.transcript import remove_transcript, write_transcript


def test_each_entry_names_the_one_before_it(tmp_path: Path) -> None:
    """Protects the order of a conversation, which the program takes from the chain and not from the lines."""
    work = tmp_path / "some.work"
    work.mkdir()
    messages = [InputMessage("user", [TextBlock("a")]), InputMessage("assistant", [TextBlock("b")])]
    session, file = write_transcript(messages, tmp_path / "configuration", work, "2.1.329")
    entries = [msgspec.json.decode(line, type=dict[str, object]) for line in file.read_bytes().splitlines()]
    assert file.name == f"{session}.jsonl"
    assert file.stat().st_mode & 0o777 == 0o600
    assert "." not in file.parent.name
    assert [entry["type"] for entry in entries] == ["user", "assistant"]
    assert [entry["parentUuid"] for entry in entries] == [None, entries[0]["uuid"]]
    assert {entry["sessionId"] for entry in entries} == {session}
    assert {entry["cwd"] for entry in entries} == {str(work)}


def test_a_removed_history_leaves_those_of_others(tmp_path: Path) -> None:
    """Protects the owner's own transcripts, and leaves no prompt behind."""
    messages = [InputMessage("user", [TextBlock("a")])]
    _, one = write_transcript(messages, tmp_path / "configuration", tmp_path, "2.1.329")
    _, other = write_transcript(messages, tmp_path / "configuration", tmp_path, "2.1.329")
    remove_transcript(one)
    assert list(one.parent.iterdir()) == [other]
    remove_transcript(other)
    assert not other.parent.exists()
    remove_transcript(other)


def test_answers_are_of_the_model_that_is_asked(tmp_path: Path) -> None:
    """Protects signed thinking of earlier turns, which the program leaves out of another model's answers."""
    said = [InputMessage("user", [TextBlock("a")]), InputMessage("assistant", [TextBlock("b")])]
    _, file = write_transcript(said, tmp_path / "configuration", tmp_path, "2.1.329", model="claude-opus-5-5")
    assert file.read_text().splitlines()[1].count('"model":"claude-opus-5-5"') == 1
