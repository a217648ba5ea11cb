"""A history as the program keeps its own, so that it goes on where the client is.

One line an entry, each naming the one before it; written into a folder that is gone with the child. These functions
block; they are for threads.
"""

import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final
from uuid import uuid4

import msgspec

from proxy.model.content import Block
from proxy.model.request import InputMessage

_MODE: Final = 0o600
_NO_LETTER: Final = re.compile(r"[^a-zA-Z0-9]")
_SLUG_MAX: Final = 200
_NO_MODEL: Final = "claude"
_encoder = msgspec.json.Encoder()


class _Said(msgspec.Struct, omit_defaults=True):
    role: str
    content: list[Block]
    id: str | None = None
    type: str | None = None
    model: str | None = None
    stop_reason: str | None = None
    usage: dict[str, int] | None = None


class _Entry(msgspec.Struct, rename="camel", kw_only=True):
    parent_uuid: str | None
    is_sidechain: bool = False
    user_type: str = "external"
    cwd: str
    session_id: str
    version: str
    git_branch: str = ""
    type: str
    message: _Said
    uuid: str
    timestamp: str = "2026-01-01T00:00:00.000Z"


def write_transcript(
    messages: Iterable[InputMessage],
    configuration: Path,
    working_dir: Path,
    version: str,
    *,
    session: str = "",
    model: str = "",
) -> tuple[str, Path]:
    """Write a history for a child that runs in `working_dir`. Returns its id and its file. Raises OSError.

    `session` is the id it is to have, empty for a new one; `model` the one that is asked: of any other's answers the
    program leaves the thinking out.
    """
    session = session or str(uuid4())
    # the program looks for it under the path it runs in, links resolved
    cwd = str(working_dir.resolve())
    folder = folder_of(configuration, working_dir)
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{session}.jsonl"
    previous: str | None = None
    lines: list[bytes] = []
    for message in messages:
        entry = _Entry(
            parent_uuid=previous,
            cwd=cwd,
            session_id=session,
            version=version,
            type=message.role,
            message=_said(message, model),
            uuid=str(uuid4()),
        )
        previous = entry.uuid
        lines.append(_encoder.encode(entry) + b"\n")
    file.touch(mode=_MODE)
    file.write_bytes(b"".join(lines))
    return session, file


def folder_of(configuration: Path, working_dir: Path) -> Path:
    """Where the program looks for what was said in a directory: under the path of that, links resolved."""
    return configuration / "projects" / _NO_LETTER.sub("-", str(working_dir.resolve()))[:_SLUG_MAX]


def remove_transcript(file: Path) -> None:
    """Remove a history, and its folder where nothing else lies in it."""
    with suppress(OSError):
        file.unlink()
        file.parent.rmdir()


def _said(message: InputMessage, model: str) -> _Said:
    if message.role == "user":
        return _Said("user", message.content)
    return _Said(
        "assistant",
        message.content,
        id=f"msg_{uuid4().hex}",
        type="message",
        model=model or _NO_MODEL,
        stop_reason="end_turn",
        usage={"input_tokens": 1, "output_tokens": 1},
    )
