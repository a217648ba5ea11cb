"""The environment of a child: a list of what it may know, and nothing else."""

from typing import Final

import pytest

from proxy.credentials import Credential, Kind
from proxy.secrets import Secret
from proxy.upstreams.claude_code.environment import Carried, as_login, through_listener
from proxy.upstreams.claude_code.folders import Folder

_CANARY: Final = "canary"
_BASE: Final = {
    "PATH": "/bin",
    "LANG": "C",
    "HOME": "/home/owner",
    "USER": "owner",
    "ANTHROPIC_API_KEY": _CANARY,
    "ANTHROPIC_CUSTOM_HEADERS": _CANARY,
    "CLAUDE_CODE_OAUTH_TOKEN": _CANARY,
    "AWS_SECRET_ACCESS_KEY": _CANARY,
    "APIKEY": _CANARY,
    "HTTPS_PROXY": _CANARY,
    "PYTHONPATH": _CANARY,
    "BASH_ENV": _CANARY,
}
_ALLOWED: Final = frozenset(
    (
        *("PATH", "LANG", "HOME", "TMPDIR", "USER", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME"),
        *(
            "ANTHROPIC_BASE_URL",
            "ANTHROPIC_API_KEY",
            "NO_PROXY",
            "HTTPS_PROXY",
            "HTTP_PROXY",
            "CLAUDE_CONFIG_DIR",
        ),
        *(
            "CLAUDE_CODE_ENTRYPOINT",
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC",
            "CLAUDE_CODE_ATTRIBUTION_HEADER",
        ),
        *(
            "CLAUDE_CODE_MAX_RETRIES",
            "CLAUDE_CODE_DISABLE_NONSTREAMING_FALLBACK",
            "CLAUDE_CODE_NO_MODEL_FALLBACK",
        ),
        *("CLAUDE_CODE_SKIP_PROMPT_HISTORY", "CLAUDE_CODE_SIMPLE", "CLAUDE_CODE_OAUTH_TOKEN"),
        *("CLAUDE_CODE_CERT_STORE", "BUN_GC_TIMER_DISABLE"),
        *("CLAUDE_CODE_MAX_OUTPUT_TOKENS", "CLAUDE_CODE_EXTRA_BODY"),
        *("CLAUDE_CODE_RESUME_INTERRUPTED_TURN", "CLAUDE_CODE_RESUME_PROMPT"),
        *("DISABLE_AUTOUPDATER", "DISABLE_TELEMETRY", "DISABLE_ERROR_REPORTING"),
    )
)


def _login(token: str | None = None, **fields: str) -> Credential:
    secret = Secret(token) if token is not None else None
    found = {"base_url": "https://api.anthropic.com", **fields}
    return Credential(
        name="me",
        kind=Kind.CLAUDE_CODE,
        secret=secret,
        base_url=found["base_url"],
        config_dir=found.get("config_dir"),
        way_out=Secret(found["proxy"]) if "proxy" in found else None,
    )


@pytest.mark.parametrize("resumes", [False, True])
def test_a_child_behind_the_listener_knows_an_address_and_no_key(folder: Folder, *, resumes: bool) -> None:
    """Protects every secret of the server, and its own key, from the program and whatever it may start."""
    found = through_listener(_BASE, folder, "http://127.0.0.1:1/token", resumes=resumes)
    assert found.keys() <= _ALLOWED
    assert _CANARY not in found.values()
    assert found["ANTHROPIC_BASE_URL"] == "http://127.0.0.1:1/token"
    assert found["HOME"].startswith(str(folder.root))
    assert ("CLAUDE_CODE_RESUME_PROMPT" in found) is resumes


def test_a_login_of_the_owner_is_looked_for_where_the_owner_has_it(folder: Folder) -> None:
    """Protects a login from being looked for in an empty folder, and from other keys lying about."""
    found = as_login(_BASE, folder, _login(), Carried(), resumes=False)
    assert found.keys() <= _ALLOWED
    assert _CANARY not in found.values()
    assert found["HOME"] == "/home/owner"
    assert {"CLAUDE_CONFIG_DIR", "ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL", "CLAUDE_CODE_SIMPLE"}.isdisjoint(
        found
    )
    named = as_login(_BASE, folder, _login(config_dir="/srv/claude"), Carried(), resumes=False)
    assert named["CLAUDE_CONFIG_DIR"] == "/srv/claude"


def test_a_login_token_and_its_way_out_are_given_to_its_own_child_alone(folder: Folder) -> None:
    """Protects what the program itself needs to go out, and no more than that."""
    login = _login("sk-ant-oat01-x", proxy="http://127.0.0.1:3128", base_url="https://relay.example")
    carried = Carried(77, '{"stop_sequences":["x"]}')
    found = as_login(_BASE, folder, login, carried, resumes=False)
    assert found.keys() <= _ALLOWED
    assert _CANARY not in found.values()
    assert found["CLAUDE_CODE_OAUTH_TOKEN"] == "sk-ant-oat01-x"
    assert found["HTTPS_PROXY"] == "http://127.0.0.1:3128"
    assert found["ANTHROPIC_BASE_URL"] == "https://relay.example"
    assert (found["CLAUDE_CODE_MAX_OUTPUT_TOKENS"], found["CLAUDE_CODE_EXTRA_BODY"]) == (
        "77",
        '{"stop_sequences":["x"]}',
    )
    assert found["HOME"].startswith(str(folder.root))
