"""From options to what the program is let do: never more than the operator allows."""

import random
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec
import pytest

from proxy.dialects.claude_options import read_options
from proxy.errors import GatewayError
from proxy.settings import CodePolicy
from proxy.upstreams.claude_code.arguments import Line, command
from proxy.upstreams.claude_code.options import Run, allowed_dir, joined_run, plan_run

_PROGRAM: Final = Path("/opt/claude")
_SERVERS: Final = {"birds": b'{"command":"birds","args":["-v"]}', "fish": b'{"command":"fish"}'}
_HOSTILE: Final = (
    "--dangerously-skip-permissions",
    "-p",
    ";$(touch /tmp/canary)",
    "a\nb",
    "a\0b",
    "../../etc",
    "/etc/passwd",
    "Bash(*)",
    "Read,Bash",
    "Read Bash",
    "mcp__birds__x --tools",
    "${HOME}",
    "bypassPermissions",
    "x" * 200_000,
    "é)",
    "",
    "*",
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An allowed directory, with one in it, a link out of it, and one beside it."""
    found = tmp_path / "root"
    (found / "desk").mkdir(parents=True)
    (found / "odd(name)").mkdir()
    (tmp_path / "root-beside").mkdir()
    (found / "out").symlink_to(tmp_path / "root-beside")
    (found / "file").write_text("x")
    return found


def _policy(
    root: Path, *, debug: bool = False, skip_permissions: bool = False, servers_join: bool = False
) -> CodePolicy:
    return CodePolicy(
        tools=frozenset({"Read", "Write", "Bash"}),
        roots=(root,),
        servers=_SERVERS,
        named_servers=frozenset({"birds"}),
        debug=debug,
        skip_permissions=skip_permissions,
        servers_join=servers_join,
    )


def _plan(policy: CodePolicy, folder: Path | None = None, **fields: object) -> Run:
    options = read_options(msgspec.json.encode({"claude_options": fields}))
    assert options is not None
    return plan_run(options, policy, folder=folder)


@pytest.mark.parametrize(
    ("fields", "option", "setting"),
    [
        ({"tools": ["Read", "Edit"]}, "tools[1]", "CLAUDE_CODE_TOOLS"),
        ({"tools": ["mcp__fish__swim"]}, "tools[0]", "CLAUDE_CODE_MCP"),
        ({"mcp_config": "fish"}, "mcp_config", "CLAUDE_CODE_MCP"),
        ({"mcp_config": "nothing"}, "mcp_config", "CLAUDE_CODE_MCP"),
        (
            {"mcp_config": {"mcpServers": {"birds": {"command": "sh"}}}},
            "mcp_config",
            "CLAUDE_CODE__MCP__CONFIG_FILE",
        ),
        ({"debug": True}, "debug", "CLAUDE_CODE_DEBUG"),
        (
            {"auto_allow_permissions": True},
            "auto_allow_permissions",
            "CLAUDE_CODE__FILE_ACCESS__SKIP_PERMISSIONS",
        ),
        ({"working_dir": "/etc"}, "working_dir", "CLAUDE_CODE_ROOTS"),
        ({"working_dir": "relative"}, "working_dir", "CLAUDE_CODE_ROOTS"),
    ],
)
def test_a_refusal_names_the_option_and_the_setting(
    root: Path, fields: Mapping[str, object], option: str, setting: str
) -> None:
    """Protects clients and operators from searching what would have to be changed."""
    with pytest.raises(GatewayError) as caught:
        _plan(_policy(root), None, **fields)
    assert (caught.value.status, caught.value.param) == (403, f"claude_options.{option}")
    assert setting in caught.value.message


def test_without_a_word_of_the_operator_only_harmless_options_are_taken(root: Path) -> None:
    """Protects the machine: the defaults let nothing be done on it."""
    run = _plan(CodePolicy(), None, tools=[], output_format="json", disallowed_tools=["Bash"], debug=False)
    assert not run.acts
    assert run.rules(root) == ()
    for fields in ({"tools": ["Read"]}, {"mcp_config": "birds"}, {"working_dir": str(root)}):
        with pytest.raises(GatewayError) as caught:
            _plan(CodePolicy(), None, **fields)
        assert caught.value.status == 403


def test_tools_of_files_stay_in_the_directory(root: Path) -> None:
    """Protects all other files; only where the operator allows it a request may go beyond."""
    tools = ["Read", "Write", "Bash"]
    run = _plan(_policy(root), None, tools=tools, disallowed_tools=["Bash"], working_dir=f"{root}/desk")
    assert (run.tools, run.denied, run.working_dir) == (("Read", "Write"), ("Bash",), root / "desk")
    assert run.rules(root / "desk") == (f"Read(/{root}/desk/**)", f"Edit(/{root}/desk/**)")
    assert run.rules(root / "odd(name)") == ()
    free = _plan(_policy(root, skip_permissions=True), None, tools=tools, auto_allow_permissions=True)
    assert free.rules(root) == ("Read", "Write", "Bash")


def test_servers_are_the_operators_word_for_word(root: Path) -> None:
    """Protects the machine from commands in a request; those that are the same as the operator's are fine."""
    policy = _policy(root)
    same = {"args": ["-v"], "command": "birds"}
    for named in ("birds", ["birds"], {"mcpServers": {"birds": same}}):
        run = _plan(policy, None, mcp_config=named, tools=["mcp__birds__look"])
        assert run.servers == {"birds": _SERVERS["birds"]}
        assert run.rules(root) == ("mcp__birds",)
        assert run.tools == ()
    assert joined_run(policy) is None
    joined = joined_run(_policy(root, servers_join=True))
    assert joined is not None
    assert (joined.servers, joined.acts, joined.session) == (_SERVERS, True, "")


def test_a_project_is_where_its_requests_run(root: Path, tmp_path: Path) -> None:
    """Protects projects: their folder needs no root, and paths in it are told from there."""
    folder = tmp_path / "project"
    (folder / "inner").mkdir(parents=True)
    assert _plan(CodePolicy(), folder).working_dir == folder
    assert _plan(CodePolicy(), folder, working_dir="inner").working_dir == folder / "inner"
    for outside in ("../root-beside", str(tmp_path)):
        with pytest.raises(GatewayError) as caught:
            _plan(CodePolicy(), folder, working_dir=outside)
        assert caught.value.status == 403


@pytest.mark.parametrize(
    ("path", "fits"),
    [
        ("root", True),
        ("root/desk", True),
        ("root/desk/", True),
        ("root/missing", False),
        ("root/file", False),
        ("root/out", False),
        ("root/desk/../../root-beside", False),
        ("root-beside", False),
    ],
)
def test_a_directory_lies_below_a_root_however_it_is_written(
    root: Path, tmp_path: Path, path: str, *, fits: bool
) -> None:
    """Protects everything outside, from names that begin alike, links, and steps upwards."""
    assert (allowed_dir(f"{tmp_path}/{path}", [root]) is not None) == fits


def test_five_thousand_hostile_options_end_in_the_template_or_in_a_refusal(root: Path) -> None:
    """Protects the command line from whatever a client writes into any option."""
    chance = random.Random(11)
    policy = _policy(root, debug=True)
    allowed = re.compile(rf"(Read|Write|Bash)|(Read|Edit)\(/{re.escape(str(root))}[\w/]*/\*\*\)|mcp__birds")
    taken, refusals = 0, list[GatewayError]()
    for _ in range(5000):
        try:
            run = _plan(policy, None, **_hostile_options(chance, root))
        except GatewayError as error:
            refusals.append(error)
            continue
        taken += 1
        working_dir = run.working_dir or root
        assert working_dir.is_relative_to(root)
        line = Line(
            model=run.model,
            tools=run.tools,
            allowed=run.rules(working_dir),
            denied=run.denied,
            debug=run.logs,
        )
        words = command(_PROGRAM, line)
        assert set(run.tools) <= policy.tools
        assert all(allowed.fullmatch(rule) for rule in run.rules(working_dir))
        assert "--dangerously-skip-permissions" not in words
        assert words[words.index("--permission-mode") + 1] == "dontAsk"
        assert all("\0" not in word and "\n" not in word and len(word) < 10_000 for word in words)
        options = {word for word in words if word.startswith("-")}
        assert options <= _TEMPLATE
    assert taken > 200
    assert {error.status for error in refusals} == {400, 403}
    assert all((error.param or "").startswith("claude_options") for error in refusals)


_TEMPLATE: Final = {
    *("--output-format", "--verbose", "--system-prompt", "--tools", "--allowedTools", "--disallowedTools"),
    *("--max-turns", "--model", "--permission-mode", "--include-partial-messages", "--strict-mcp-config"),
    *("--setting-sources=", "--disable-slash-commands", "--no-session-persistence", "--debug-to-stderr"),
    "--input-format",
}


def _hostile_options(chance: random.Random, root: Path) -> dict[str, object]:
    def text(*fine: str) -> str:
        return chance.choice((*fine, *fine, *fine, chance.choice(_HOSTILE)))

    made: dict[str, object] = {
        "tools": [text("Read", "Bash", "mcp__birds__look") for _ in range(chance.randrange(3))],
        "disallowed_tools": [text("Edit", "Bash") for _ in range(chance.randrange(2))],
        "output_format": text("text", "json"),
        "working_dir": text(str(root), f"{root}/desk"),
        "mcp_config": chance.choice((text("birds"), [text("birds")], {"mcpServers": {text("birds"): {}}})),
        "model": text("opus", "claude-sonnet-5-5"),
        "debug": chance.choice((True, False, text("yes"))),
        "auto_allow_permissions": chance.random() < 0.1,
    }
    return {name: made[name] for name in chance.sample(sorted(made), chance.randrange(1, 5))}
