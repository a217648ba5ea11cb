"""What a child is told by its environment: a list of what it needs, made from scratch.

Nothing is inherited but a handful of harmless names, so that no key of the server, no other credential and no setting
of the operator's own shell gets there. Source: "Environment variables" in Claude Code's documentation.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from proxy.credentials import Credential
from proxy.upstreams.claude_code.folders import Folder

INHERITED: Final = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ")
_INHERITED_BY_LOGINS: Final = ("SSL_CERT_FILE", "SSL_CERT_DIR", "NODE_EXTRA_CA_CERTS", "USER", "LOGNAME")
NO_HISTORY: Final = "CLAUDE_CODE_SKIP_PROMPT_HISTORY"
"""By this name the program is told to write down nothing of what is said."""
_QUIET: Final = {
    "CLAUDE_CODE_ENTRYPOINT": "sdk-py",
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "CLAUDE_CODE_ATTRIBUTION_HEADER": "0",
    "CLAUDE_CODE_MAX_RETRIES": "0",
    "CLAUDE_CODE_DISABLE_NONSTREAMING_FALLBACK": "1",
    "CLAUDE_CODE_NO_MODEL_FALLBACK": "1",
    NO_HISTORY: "1",
    "DISABLE_AUTOUPDATER": "1",
    "DISABLE_TELEMETRY": "1",
    "DISABLE_ERROR_REPORTING": "1",
}
SDK_VERSION: Final = "CLAUDE_AGENT_SDK_VERSION"
"""By this name the program is told what drives it, and tells it on."""
RESUME_PROMPT: Final = "Go on with what the tools have answered."
"""What the program says of itself where it takes up a turn that ends with the results of tools."""
_RESUMING: Final = {
    "CLAUDE_CODE_RESUME_INTERRUPTED_TURN": "1",
    "CLAUDE_CODE_RESUME_PROMPT": RESUME_PROMPT,
}
_SIMPLE: Final = {
    "CLAUDE_CODE_SIMPLE": "1",
    "CLAUDE_CODE_CERT_STORE": "bundled",
    "BUN_GC_TIMER_DISABLE": "1",
}
"""One that only answers is kept between answers. A collection in each pause would throw away what makes the next answer
fast; memory that is asked for is collected all the same. Source: ``src/bun_core/env_var.rs`` of Bun, which runs the
program."""
_ACTING: Final = {"ENABLE_TOOL_SEARCH": "false"}
"""All tools are offered at once."""
_HIDING: Final = {"CLAUDE_CODE_SUBPROCESS_ENV_SCRUB": "1"}
"""What tools start is told nothing of the API, and kept apart by bubblewrap, which has to be there."""
_NO_KEY: Final = "the-listener-has-it"
_ANTHROPIC: Final = "https://api.anthropic.com"


def through_listener(
    base: Mapping[str, str], folder: Folder, address: str, *, resumes: bool, simple: bool = True
) -> dict[str, str]:
    """The environment of a child whose calls go through our listener at `address`, which puts the key on.

    `base` is the server's own environment; `resumes` says that the child answers a question it finds in its history,
    `simple` that it has none of its own tools, most of which it leaves out then.
    """
    return {
        **_taken(base, INHERITED),
        **_own(folder),
        **_QUIET,
        **(_RESUMING if resumes else {}),
        **(_SIMPLE if simple else _ACTING),
        "ANTHROPIC_BASE_URL": address,
        "ANTHROPIC_API_KEY": _NO_KEY,
        "NO_PROXY": "127.0.0.1",
    }


class Carried(msgspec.Struct, frozen=True):
    """What of a request goes by the environment where nobody stands between the child and Anthropic.

    Attributes:
        max_tokens: ``max_tokens``, or None.
        extra_body: JSON of further fields of the request body; empty for none.
    """

    max_tokens: int | None = None
    extra_body: str = ""


def as_login(
    base: Mapping[str, str],
    folder: Folder,
    credential: Credential,
    carried: Carried,
    *,
    resumes: bool,
    acts: bool = False,
) -> dict[str, str]:
    """The environment of a child that goes out by itself with its owner's own login.

    That is the login of a configuration folder, or a token the owner made for programs with ``claude setup-token``.
    One that `acts` hides it from what its tools start.
    """
    found = {
        **_taken(base, (*INHERITED, *_INHERITED_BY_LOGINS)),
        **_QUIET,
        **(_RESUMING if resumes else {}),
        **(_ACTING | _HIDING if acts else {}),
        "TMPDIR": str(folder.temporary),
    }
    if credential.secret is not None:
        found |= {**_own(folder), "CLAUDE_CODE_OAUTH_TOKEN": credential.secret.reveal()}
    else:
        found |= _owners(base, credential)
    if credential.base_url != _ANTHROPIC:
        found["ANTHROPIC_BASE_URL"] = credential.base_url
    if credential.way_out is not None:
        found["HTTPS_PROXY"] = found["HTTP_PROXY"] = credential.way_out.reveal()
    if carried.max_tokens is not None:
        found["CLAUDE_CODE_MAX_OUTPUT_TOKENS"] = str(carried.max_tokens)
    if carried.extra_body:
        found["CLAUDE_CODE_EXTRA_BODY"] = carried.extra_body
    return found


def _owners(base: Mapping[str, str], credential: Credential) -> dict[str, str]:
    """Where the owner's login lies: the folder that is named, else that of the user the server runs as."""
    if credential.config_dir is None:
        return _taken(base, ("HOME", "CLAUDE_CONFIG_DIR"))
    folder = Path(credential.config_dir).expanduser()
    return {**_taken(base, ("HOME",)), "CLAUDE_CONFIG_DIR": str(folder)}


def _own(folder: Folder) -> dict[str, str]:
    return {
        "HOME": str(folder.home),
        "TMPDIR": str(folder.temporary),
        "CLAUDE_CONFIG_DIR": str(folder.configuration),
        "XDG_CONFIG_HOME": str(folder.home / ".config"),
        "XDG_CACHE_HOME": str(folder.home / ".cache"),
        "XDG_DATA_HOME": str(folder.home / ".local"),
    }


def _taken(base: Mapping[str, str], names: tuple[str, ...]) -> dict[str, str]:
    return {name: base[name] for name in names if name in base}
