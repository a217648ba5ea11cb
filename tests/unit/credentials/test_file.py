"""The file of credentials in its three shapes."""

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.credentials.credential import Kind
from proxy.credentials.draft import Draft
from proxy.credentials.file import drafts_from_file, drafts_from_keys_json
from proxy.credentials.reading import Reader
from proxy.secrets import Secret

CANARY = "sk-canary-91ab"
A_NAME = "expected 1 to 64 letters, digits, dots, underscores or hyphens"
NO_USER = "holds a user name or password; a key belongs into a setting of its own"
KEY = {"name": "a", "kind": "anthropic", "key": "sk-a"}


def read(document: object, variables: dict[str, str] | None = None) -> tuple[list[Draft], list[str]]:
    """Drafts and the lines of the problems."""
    reader = Reader({name: Secret(text) for name, text in (variables or {}).items()})
    drafts = drafts_from_file(msgspec.json.encode(document).decode(), "f", reader)
    return drafts, [f"{problem.setting}: {problem.reason}" for problem in reader.problems]


def test_every_field_arrives_where_it_belongs() -> None:
    """Protects each documented field of each kind."""
    common = {
        "weight": 2,
        "tier": 3,
        "models": ["claude-haiku-*"],
        "max_concurrency": 8,
        "requests_per_minute": 60,
        "proxy": "$WAY_OUT",
        "base_url": "https://x.example/",
        "organization": "org-1",
        "clients": ["env-1", "env-2"],
        "enabled": False,
    }
    document = {
        "version": 1,
        "credentials": [
            {"name": "a", "kind": "anthropic", "key": "$TEAM_KEY", "model": "m", **common},
            {"name": "w", "kind": "claude_web", "session_key": "cookie", **common, "max_concurrency": 1},
            {
                "name": "c",
                "kind": "claude_code",
                "token": "t",
                "model": "m",
                "config_dir": "/c",
                "working_dir": "/w",
                "cli_path": "/bin/claude",
                **common,
            },
            {"name": "o", "kind": "openai", "key": "k", "model": "gpt", **common},
        ],
    }
    drafts, problems = read(document, {"TEAM_KEY": "sk-team", "WAY_OUT": "socks5://u:p@h:1"})
    assert problems == []
    assert [(draft.name, draft.kind) for draft in drafts] == [
        ("a", Kind.ANTHROPIC),
        ("w", Kind.CLAUDE_WEB),
        ("c", Kind.CLAUDE_CODE),
        ("o", Kind.OPENAI),
    ]
    for draft, secret in zip(drafts, ("sk-team", "cookie", "t", "k"), strict=True):
        assert draft.secret == Secret(secret)
        assert (draft.weight, draft.tier, draft.models) == (2, 3, ("claude-haiku-*",))
        places = 1 if draft.kind is Kind.CLAUDE_WEB else 8
        assert (draft.max_concurrency, draft.requests_per_minute) == (places, 60)
        assert draft.way_out == Secret("socks5://u:p@h:1")
        assert (draft.base_url, draft.organization) == ("https://x.example", "org-1")
        assert (draft.clients, draft.enabled) == (frozenset({"env-1", "env-2"}), False)
    assert [draft.model for draft in drafts] == ["m", None, "m", "gpt"]
    assert (drafts[2].config_dir, drafts[2].working_dir, drafts[2].cli_path) == ("/c", "/w", "/bin/claude")


@pytest.mark.parametrize(
    ("change", "lines"),
    [
        ({"name": None}, ["f credentials[0].name: expected a string"]),
        ({"name": "a b"}, [f"f credentials[0].name: {A_NAME}"]),
        ({"weight": 0}, ["f credentials[0].weight: expected a whole number from 1 to 1000"]),
        ({"weight": True}, ["f credentials[0].weight: expected a whole number from 1 to 1000"]),
        ({"weight": "2"}, ["f credentials[0].weight: expected a whole number from 1 to 1000"]),
        ({"tier": -1}, ["f credentials[0].tier: expected a whole number from 0 to 99"]),
        ({"max_concurrency": 0}, ["f credentials[0].max_concurrency: expected a whole number of at least 1"]),
        ({"requests_per_minute": 1.5}, ["f credentials[0].requests_per_minute: expected a whole number of at least 1"]),
        ({"models": "claude"}, ["f credentials[0].models: expected a list of strings"]),
        ({"clients": ["a b"]}, [f"f credentials[0].clients[0]: {A_NAME}"]),
        ({"enabled": "yes"}, ["f credentials[0].enabled: expected true or false"]),
        ({"key": "replace-me"}, ["f credentials[0].key: is still the placeholder of the example file"]),
        ({"kei": 1}, ["f credentials[0].kei: is no field of kind anthropic"]),
        ({"session_key": "x"}, ["f credentials[0].session_key: is no field of kind anthropic"]),
        ({"base_url": "https://u:p@h"}, [f"f credentials[0].base_url: {NO_USER}"]),
    ],
)  # fmt: skip
def test_a_wrong_field_is_named_with_its_path(change: dict[str, object], lines: list[str]) -> None:
    """Protects operators from a file that is refused as a whole."""
    assert read({"credentials": [{**KEY, **change}]})[1] == lines


def test_a_session_serves_one_request_at_a_time() -> None:
    """Protects a person's account from the traffic of a service."""
    entry = {"name": "w", "kind": "claude_web", "session_key": "cookie", "max_concurrency": 2}
    lines = ["f credentials[0].max_concurrency: expected 1: a session is one person's"]
    assert read({"credentials": [entry]})[1] == lines


@pytest.mark.parametrize(
    "field", ["models", "proxy", "base_url", "model", "enabled", "weight", "organization"]
)
def test_null_is_the_same_as_leaving_a_field_out(field: str) -> None:
    """Protects files that are written by programs."""
    assert read({"credentials": [{**KEY, field: None}]}) == read({"credentials": [KEY]})


@pytest.mark.parametrize(
    ("entry", "named"),
    [
        ({"kind": "anthropic"}, ["name", "key"]),
        ({"kind": "claude_web", "name": "w"}, ["session_key"]),
        ({"kind": "claude_code"}, ["name"]),
        ({"kind": "openai", "name": "o"}, ["base_url"]),
        ({"name": "x", "key": "k"}, ["kind"]),
        ({"name": "x", "kind": CANARY, "weight": 0, "sesion_key": 1}, ["kind", "weight", "sesion_key"]),
        ({"kind": 5}, ["kind", "name"]),
    ],
)
def test_what_a_kind_needs_is_asked_for(entry: dict[str, object], named: list[str]) -> None:
    """Protects against a credential that could never work, and goes on looking when the kind is wrong."""
    _, lines = read({"credentials": [entry]})
    assert [line.split(":")[0] for line in lines] == [f"f credentials[0].{name}" for name in named]
    assert CANARY not in "".join(lines)


@pytest.mark.parametrize(
    ("document", "line"),
    [
        ([], "f: expected an object"),
        ({}, "f: has no list named credentials"),
        ({"credentials": {}}, "f credentials: expected a list"),
        ({"credentials": ["x"]}, "f credentials[0]: expected an object"),
        ({"credentials": [], "other": 1}, "f: has an unknown field: other"),
        ({"credentials": [], CANARY: 1}, "f: has an unknown field: a field with an unusual name"),
        ({"credentials": [], "version": 2}, "f version: expected 1"),
        ({"credentials": [], "version": "1"}, "f version: expected 1"),
        ({"sessions": [{}]}, "f sessions[0].sessionKey: is missing"),
        (
            {"sessions": [{"sessionKey": "c", "orgId": "x"}]},
            "f sessions[0].orgId: is no field of kind claude_web",
        ),
        ({"sessions": ["cookie"]}, "f sessions[0]: expected an object"),
        ({"claude_api_keys": [7]}, "f claude_api_keys[0]: expected an object"),
        ({"claude_api_keys": [{"name": "a"}]}, "f claude_api_keys[0].token: is missing"),
    ],
)
def test_a_file_of_another_shape_is_refused(document: object, line: str) -> None:
    """Protects against a slip in a name that would leave the pool empty."""
    assert read(document)[1] == [line]


def test_the_older_list_of_sessions_is_read() -> None:
    """Protects files written for claude.ai sessions."""
    drafts, problems = read(
        {"sessions": [{"sessionKey": "c1", "orgID": "o1"}, {"sessionKey": "c2", "orgID": ""}]}
    )
    assert problems == []
    assert [(draft.kind, draft.name, draft.organization) for draft in drafts] == [
        (Kind.CLAUDE_WEB, None, "o1"),
        (Kind.CLAUDE_WEB, None, None),
    ]


@pytest.mark.parametrize("wrapped", [True, False])
def test_the_older_list_of_keys_is_read_with_its_order_as_tiers(wrapped: bool) -> None:
    """Protects the first key's place before its backups, in the file and in the environment."""
    keys = [
        {"name": "primary", "token": "t1", "base_url": "https://a.example", "status": "active"},
        {"name": "backup1", "token": "t2", "base_url": "https://a.example", "status": "expired"},
        {"name": "backup2", "token": "t3"},
    ]
    reader = Reader({})
    text = msgspec.json.encode({"claude_api_keys": keys} if wrapped else keys).decode()
    drafts = drafts_from_keys_json(text, "CLAUDE_API_KEYS", reader)
    assert reader.problems == []
    assert [(draft.name, draft.tier, draft.enabled) for draft in drafts] == [
        ("primary", 0, True),
        ("backup1", 1, False),
        ("backup2", 2, True),
    ]
    assert {draft.kind for draft in drafts} == {Kind.CLAUDE_CODE}


_LEAF = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.just(CANARY + " x")
_NAMES = st.sampled_from(
    [*KEY, "credentials", "sessions", "claude_api_keys", "proxy", "models", "version", CANARY]
)
_JSON = st.recursive(
    _LEAF,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=4),
    max_leaves=12,
)


@given(_JSON)
def test_whatever_json_a_file_holds_it_is_read_or_refused_and_never_quoted(document: object) -> None:
    """Protects the start from a crash, and keys in wrong places from being shown."""
    drafts, lines = read(document)
    lists = (
        document.keys() & {"credentials", "sessions", "claude_api_keys"} if isinstance(document, dict) else ()
    )
    assert drafts or lines or lists
    assert CANARY not in "".join(lines)


@given(st.binary(max_size=60))
def test_whatever_bytes_a_file_holds_the_start_does_not_crash(data: bytes) -> None:
    """Protects the start from files that are not JSON at all."""
    reader = Reader({})
    drafts = drafts_from_file(data.decode("utf-8", "replace"), "f", reader)
    assert drafts or reader.problems


def test_the_example_file_is_of_the_right_shape() -> None:
    """Protects newcomers: only the placeholders stand between the example and a start."""
    example = Path(__file__).parents[3] / "sessions.json.example"
    reader = Reader({"TEAM_KEY": Secret("sk-team"), "OPENAI_KEY": Secret("sk-openai")})
    drafts = drafts_from_file(example.read_text(), "f", reader)
    assert {draft.kind for draft in drafts} == set(Kind)
    assert {problem.reason for problem in reader.problems} == {"is still the placeholder of the example file"}
