"""The command line: a template nobody gets out of."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.upstreams.claude_code.arguments import Line, command, model_fits

PROGRAM = Path("/opt/claude")
SESSION = "0b8f0d5e-2b1f-4a53-9b58-3c2f1a5e7d10"
_HOSTILE = st.sampled_from(
    ["--dangerously-skip-permissions", "-p", ";$(id)", "a\nb", "a\0b", "a b", "", "x" * 200_000, "$HOME", "é"]
)


@pytest.mark.parametrize(
    "model", ["claude-sonnet-5-5", "opus", "claude-opus-5-5[1m]", "us.anthropic.claude:0"]
)
def test_a_model_id_stands_in_its_place(model: str) -> None:
    """Protects the ids that providers use."""
    line = command(PROGRAM, Line(model=model))
    assert line[line.index("--model") + 1] == model


@given(_HOSTILE | st.text(max_size=40))
def test_a_model_that_fits_is_one_word_and_no_option(model: str) -> None:
    """Protects the command line from whatever a client calls a model."""
    if not model_fits(model):
        if model:
            with pytest.raises(ValueError, match="model"):
                command(PROGRAM, Line(model=model))
        return
    assert model.isascii()
    assert model[0].isalnum()
    assert len(command(PROGRAM, Line(model=model))) == len(command(PROGRAM, Line(model="a")))


@given(_HOSTILE | st.text(max_size=40))
def test_only_an_id_of_ours_is_resumed(session: str) -> None:
    """Protects the transcripts of others, which the program would find by their titles."""
    with pytest.raises(ValueError, match="transcript"):
        command(PROGRAM, Line(resume=session))


def test_paths_are_absolute() -> None:
    """Protects a path from being taken for an option, or looked for where the child runs."""
    with pytest.raises(ValueError, match="path"):
        command(Path("-claude"), Line())
    with pytest.raises(ValueError, match="path"):
        command(PROGRAM, Line(system_file=Path("--version")))


def test_no_tool_no_settings_and_no_permission_is_ever_given() -> None:
    """Protects the machine from what the program can do where it is let."""
    line = command(PROGRAM, Line(model="m", system_file=Path("/s"), resume=SESSION, once=True))
    assert line[line.index("--tools") + 1] == ""
    assert line[line.index("--permission-mode") + 1] == "dontAsk"
    assert {"--strict-mcp-config", "--setting-sources=", f"--resume={SESSION}"} <= set(line)
    assert "--max-budget-usd" in line
    assert "--max-budget-usd" not in command(PROGRAM, Line())


@pytest.mark.parametrize("tells", [False, True])
def test_it_tells_an_answer_as_it_comes_only_where_somebody_listens(*, tells: bool) -> None:
    """Protects logins and runs, whose answers nobody knows from elsewhere."""
    assert ("--include-partial-messages" in command(PROGRAM, Line(tells=tells))) is tells


def test_a_run_has_its_tools_rules_servers_and_session_and_nothing_else() -> None:
    """Protects the places of what a run adds to the template."""
    line = Line(
        tools=("Read", "Bash"),
        allowed=("Read(//srv/my work/**)", "Bash", "mcp__birds"),
        denied=("Edit",),
        servers_file=Path("/s.json"),
        session=SESSION,
        keeps=True,
        calls=100,
        debug=True,
    )
    words = command(PROGRAM, line)
    for option, value in (
        ("--tools", "Read,Bash"),
        ("--allowedTools", "Read(//srv/my work/**),Bash,mcp__birds"),
        ("--disallowedTools", "Edit"),
        ("--mcp-config", "/s.json"),
        ("--session-id", SESSION),
        ("--max-turns", "100"),
    ):
        assert words[words.index(option) + 1] == value
    assert "--no-session-persistence" not in words
    assert "--debug-to-stderr" in words


@pytest.mark.parametrize(
    "line",
    [
        Line(tools=("Read,Bash",)),
        Line(tools=("--tools",)),
        Line(denied=("a b",)),
        Line(allowed=("Bash(*)",)),
        Line(allowed=("Read(//srv/**),Bash",)),
        Line(allowed=("Read(//srv/a)b/**)",)),
        Line(allowed=("Read(/srv/**)",)),
        Line(session="Read it."),
        Line(servers_file=Path("s.json")),
    ],
)
def test_what_is_no_tool_rule_or_session_never_gets_there(line: Line) -> None:
    """Protects the command line from a mistake made before it."""
    with pytest.raises(ValueError, match=r"^not "):
        command(PROGRAM, line)


def test_the_server_of_client_tools_is_there_where_it_is_asked_for_alone() -> None:
    """Protects requests without tools from a start and a memory they have no use for."""
    assert "--mcp-config" not in command(PROGRAM, Line())
    line = command(PROGRAM, Line(client_tools=True))
    assert line[line.index("--allowedTools") + 1] == "mcp__client__call"
    assert "--mcp-config" in line
