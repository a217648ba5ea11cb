"""Bodies of claude.ai's calls, out and in.

The site has no published API; the shapes are those its public clients of 2025 and 2026 use. Little is sent, and
what is read may hold any number of fields nobody has seen before.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from proxy.dialects.claude_web.files import Attachment
from proxy.dialects.claude_web.plan import Plan, Prompt

FIRST_PARENT: Final = "00000000-0000-4000-8000-000000000000"
"""What the first message of a conversation names as the message before it."""

_encoder = msgspec.json.Encoder()


class WireBroken(ValueError):
    """An answer that is not what the call gives."""


class _Create(msgspec.Struct, omit_defaults=True):
    uuid: str
    name: str
    is_temporary: bool
    model: str | None = None


class _TurnUuids(msgspec.Struct):
    human_message_uuid: str
    assistant_message_uuid: str


class _Completion(msgspec.Struct, omit_defaults=True, kw_only=True):
    prompt: str
    parent_message_uuid: str
    timezone: str
    rendering_mode: str
    turn_message_uuids: _TurnUuids
    attachments: Sequence[Attachment]
    files: Sequence[str]
    sync_sources: Sequence[str]
    thinking_mode: str
    effort: str | None = None
    model: str | None = None


class _Delete(msgspec.Struct):
    uuid: str


class _Created(msgspec.Struct):
    uuid: str


class _Uploaded(msgspec.Struct):
    file_uuid: str


_created_decoder = msgspec.json.Decoder(_Created)
_uploaded_decoder = msgspec.json.Decoder(_Uploaded)


class TurnUuids(msgspec.Struct, frozen=True):
    """The uuids of a turn: of the message before it, the human's and the assistant's."""

    parent: str
    human: str
    assistant: str


def encode_create(uuid: str, *, temporary: bool, model: str | None) -> bytes:
    """A new conversation; `model` None is the account's own choice, `temporary` keeps it out of the history."""
    return _encoder.encode(_Create(uuid, "", temporary, model))


def encode_completion(
    plan: Plan, prompt: Prompt, turn: TurnUuids, files: Sequence[str], *, model: str | None
) -> bytes:
    """A question of a plan; `files` are the uuids of the prompt's uploads, in order."""
    return _encoder.encode(
        _Completion(
            prompt=prompt.text,
            parent_message_uuid=turn.parent,
            timezone="Etc/UTC",
            rendering_mode="messages",
            turn_message_uuids=_TurnUuids(turn.human, turn.assistant),
            attachments=prompt.attachments,
            files=files,
            sync_sources=(),
            thinking_mode="extended" if plan.thinking else "off",
            effort=plan.effort,
            model=model,
        )
    )


def encode_delete(uuid: str) -> bytes:
    """What a deletion says once more."""
    return _encoder.encode(_Delete(uuid))


def decode_created(body: bytes) -> str:
    """The uuid of a conversation that was created. Raises WireBroken."""
    try:
        return _created_decoder.decode(body).uuid
    except (ValueError, RecursionError):
        raise WireBroken("the answer is no conversation") from None


def decode_uploaded(body: bytes) -> str:
    """The uuid of a file that was uploaded, by either call. Raises WireBroken."""
    try:
        return _uploaded_decoder.decode(body).file_uuid
    except (ValueError, RecursionError):
        raise WireBroken("the answer is no file") from None
