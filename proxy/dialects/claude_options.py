"""``claude_options``: what a request asks of Claude Code beyond its messages, in any dialect."""

from collections.abc import Mapping
from typing import Annotated, Final, Literal

import msgspec

from proxy.dialects.decoding import decode_json
from proxy.errors import InvalidRequest

FIELD: Final = "claude_options"
FILES_MAX: Final = 20
"""How many files and images one request may name."""

OutputFormat = Literal["text", "json", "stream-json"]

_Text = Annotated[str, msgspec.Meta(min_length=1, max_length=4096)]
_Texts = Annotated[list[_Text], msgspec.Meta(max_length=64)]
_Image = Annotated[str, msgspec.Meta(min_length=1, max_length=7_200_000)]
_Images = Annotated[list[_Image], msgspec.Meta(max_length=64)]


class ServersGiven(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """``mcp_config`` as an object: the servers by name, each as JSON."""

    mcp_servers: dict[str, msgspec.Raw]


class ClaudeOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The options. None, and an empty list, are the same as an option that is not given.

    Attributes:
        tools: tools of the program's own that are offered, and allowed to run.
        disallowed_tools: tools that are not, even where `tools` names them.
        session_id: the session to go on with.
        goes_on: ``continue``: whether to go on with the client's latest session in the directory.
        output_format: what the answer's text is: the text itself, the result as JSON, or a line for each message.
        debug: whether what the program complains of is logged.
        working_dir: where the program runs.
        mcp_config: the MCP servers it may use: a name, names, or their configuration.
        files: paths of text files put before the question.
        images: images put before the question: paths, http(s) URLs, or data URLs of 5 MiB at most.
        auto_allow_permissions: whether the allowed tools may be used everywhere.
        model: the model, where the request itself names none but ``claude-code``.
    """

    tools: _Texts | None = None
    disallowed_tools: _Texts | None = None
    session_id: _Text | None = None
    goes_on: bool | None = msgspec.field(default=None, name="continue")
    output_format: OutputFormat | None = None
    debug: bool | None = None
    working_dir: _Text | None = None
    mcp_config: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    files: _Texts | None = None
    images: _Images | None = None
    auto_allow_permissions: bool | None = None
    model: _Text | None = None

    def servers(self) -> tuple[tuple[str, ...], Mapping[str, msgspec.Raw]]:
        """What ``mcp_config`` names: names alone, and servers told in full. Raises InvalidRequest."""
        raw = self.mcp_config
        if raw is msgspec.UNSET or bytes(raw) == b"null":
            return (), {}
        at = f"{FIELD}.mcp_config"
        if bytes(raw).lstrip()[:1] == b"{":
            return (), decode_json(ServersGiven, raw, at=at).mcp_servers
        if bytes(raw).lstrip()[:1] == b'"':
            return (decode_json(str, raw, at=at),), {}
        return tuple(decode_json(list[str], raw, at=at)), {}


class _Body(msgspec.Struct):
    claude_options: ClaudeOptions | None = None


def read_options(body: bytes) -> ClaudeOptions | None:
    """The options of a request; None where it has none. Raises InvalidRequest naming the option."""
    options = decode_json(_Body, body).claude_options
    if options is None:
        return None
    _demand(
        not (options.session_id and options.goes_on),
        "continue",
        "A request goes on with the session it names, or with the latest one, not with both.",
    )
    named = len(options.files or ()) + len(options.images or ())
    _demand(named <= FILES_MAX, "files", f"A request may name {FILES_MAX} files and images in all.")
    options.servers()
    return options


def _demand(fine: bool, option: str, otherwise: str) -> None:
    if not fine:
        raise InvalidRequest(otherwise, param=f"{FIELD}.{option}")
