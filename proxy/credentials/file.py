"""The file of credentials, in its own shape and in two older ones."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Annotated, Final

import msgspec

from proxy.credentials.credential import Kind
from proxy.credentials.draft import Draft
from proxy.credentials.reading import Reader, shown
from proxy.settings import values

Read = Callable[[Reader, str, msgspec.Raw], object]
"""From a field's JSON to its value; None after a problem."""

_Count = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
_One = Annotated[int, msgspec.Meta(ge=1, le=1)]
_Weight = Annotated[int, msgspec.Meta(ge=1, le=1000)]
_Tier = Annotated[int, msgspec.Meta(ge=0, le=99)]


def _typed(expected: type[object], reason: str) -> Read:
    return lambda reader, where, text: reader.value(where, text, expected, reason)


def _parsed(parse: Callable[[str], object]) -> Read:
    return lambda reader, where, text: reader.parsed(where, text, parse)


def _organization(text: str) -> str | None:
    return values.word(text) if text else None


def _names(reader: Reader, where: str, text: msgspec.Raw) -> tuple[str, ...] | None:
    return reader.strings(where, text, values.word)


def _clients(reader: Reader, where: str, text: msgspec.Raw) -> frozenset[str] | None:
    found = _names(reader, where, text)
    return None if found is None else frozenset(found)


def _models(reader: Reader, where: str, text: msgspec.Raw) -> tuple[str, ...] | None:
    return reader.strings(where, text, values.model_id)


def _secret(reader: Reader, where: str, text: msgspec.Raw) -> object:
    return reader.secret(where, text, values.secret)


def _way_out(reader: Reader, where: str, text: msgspec.Raw) -> object:
    return reader.secret(where, text, values.proxy_url)


def _active(reader: Reader, where: str, text: msgspec.Raw) -> object:
    status = reader.parsed(where, text, values.plain)
    return None if status is None else status == "active"


_COMMON: Final[dict[str, tuple[str, Read]]] = {
    "name": ("name", _parsed(values.word)),
    "kind": ("kind", _parsed(values.one_of(*Kind))),
    "weight": ("weight", _typed(_Weight, "expected a whole number from 1 to 1000")),
    "tier": ("tier", _typed(_Tier, "expected a whole number from 0 to 99")),
    "models": ("models", _models),
    "max_concurrency": ("max_concurrency", _typed(_Count, "expected a whole number of at least 1")),
    "requests_per_minute": ("requests_per_minute", _typed(_Count, "expected a whole number of at least 1")),
    "proxy": ("way_out", _way_out),
    "base_url": ("base_url", _parsed(values.base_url)),
    "organization": ("organization", _parsed(_organization)),
    "clients": ("clients", _clients),
    "enabled": ("enabled", _typed(bool, "expected true or false")),
}
_KEY: Final = ("secret", _secret)
_ALONE: Final = ("max_concurrency", _typed(_One, "expected 1: a session is one person's"))
_MODEL: Final = ("model", _parsed(values.model_id))
_OF_KIND: Final[Mapping[Kind, Mapping[str, tuple[str, Read]]]] = {
    Kind.ANTHROPIC: {"key": _KEY, "model": _MODEL},
    Kind.CLAUDE_WEB: {"session_key": _KEY, "max_concurrency": _ALONE},
    Kind.CLAUDE_CODE: {
        "token": _KEY,
        "model": _MODEL,
        "config_dir": ("config_dir", _parsed(values.plain)),
        "working_dir": ("working_dir", _parsed(values.plain)),
        "cli_path": ("cli_path", _parsed(values.plain)),
    },
    Kind.OPENAI: {"key": _KEY, "model": _MODEL},
}
_ANY_KIND: Final = {name: each for fields in _OF_KIND.values() for name, each in fields.items()} | _COMMON
_REQUIRED: Final[Mapping[Kind, tuple[str, ...]]] = {
    Kind.ANTHROPIC: ("name", "key"),
    Kind.CLAUDE_WEB: ("name", "session_key"),
    Kind.CLAUDE_CODE: ("name",),
    Kind.OPENAI: ("name", "base_url"),
}
_OLD_SESSION: Final[Mapping[str, tuple[str, Read]]] = {
    "sessionKey": _KEY,
    "orgID": ("organization", _parsed(_organization)),
}
_OLD_KEY: Final[Mapping[str, tuple[str, Read]]] = {
    "name": ("name", _parsed(values.word)),
    "token": _KEY,
    "base_url": ("base_url", _parsed(values.base_url)),
    "status": ("enabled", _active),
}


def drafts_from_file(text: str, where: str, reader: Reader) -> list[Draft]:
    """The credentials of a file of any of the three shapes; mistakes go to `reader`."""
    document = reader.members(where, msgspec.Raw(text.encode()))
    if document is None:
        return []
    sections: Mapping[str, Callable[[Reader, str, Sequence[msgspec.Raw]], list[Draft]]] = {
        "credentials": _credentials,
        "sessions": _old_sessions,
        "claude_api_keys": old_keys,
    }
    drafts: list[Draft] = []
    for name, content in document.items():
        if read := sections.get(name):
            drafts += read(reader, f"{where} {name}", reader.items(f"{where} {name}", content))
        elif name != "version":
            reader.wrong(where, f"has an unknown field: {shown(name)}")
        elif reader.value(f"{where} version", content, int, "expected 1") not in {1, None}:
            reader.wrong(f"{where} version", "expected 1")
    if not sections.keys() & document.keys():
        reader.wrong(where, "has no list named credentials")
    return drafts


def drafts_from_keys_json(text: str, where: str, reader: Reader) -> list[Draft]:
    """The Claude Code keys of ``CLAUDE_API_KEYS``: a list, or an object that holds it under its old name."""
    if not text.lstrip().startswith("{"):
        return old_keys(reader, where, reader.items(where, msgspec.Raw(text.encode())))
    return drafts_from_file(text, where, reader)


def _credentials(reader: Reader, where: str, entries: Sequence[msgspec.Raw]) -> list[Draft]:
    drafts = (_credential(reader, f"{where}[{index}]", entry) for index, entry in enumerate(entries))
    return [draft for draft in drafts if draft is not None]


def _credential(reader: Reader, where: str, entry: msgspec.Raw) -> Draft | None:
    members = reader.members(where, entry)
    if members is None:
        return None
    kind = _kind(members.get("kind"))
    if kind is None:
        reader.wrong(f"{where}.kind", f"expected one of: {', '.join(Kind)}")
        # The other fields are still looked at, so that all mistakes show at once.
        members = {name: text for name, text in members.items() if name != "kind"}
        _fill(reader, Draft(where=where, kind=Kind.ANTHROPIC), members, _ANY_KIND, ("name",))
        return None
    draft = Draft(where=where, kind=kind)
    _fill(reader, draft, members, {**_COMMON, **_OF_KIND[kind]}, _REQUIRED[kind])
    return draft


def _kind(text: msgspec.Raw | None) -> Kind | None:
    try:
        return None if text is None else msgspec.json.decode(text, type=Kind)
    except (msgspec.DecodeError, UnicodeError):
        return None


def _old_sessions(reader: Reader, where: str, entries: Sequence[msgspec.Raw]) -> list[Draft]:
    drafts: list[Draft] = []
    for index, entry in enumerate(entries):
        draft = Draft(where=f"{where}[{index}]", kind=Kind.CLAUDE_WEB)
        if (members := reader.members(draft.where, entry)) is not None:
            _fill(reader, draft, members, _OLD_SESSION, ("sessionKey",))
            drafts.append(draft)
    return drafts


def old_keys(reader: Reader, where: str, entries: Sequence[msgspec.Raw]) -> list[Draft]:
    """Claude Code keys of the older shape: the first is used, the others are its reserve in their order."""
    drafts: list[Draft] = []
    for tier, entry in enumerate(entries):
        draft = Draft(where=f"{where}[{tier}]", kind=Kind.CLAUDE_CODE, tier=min(tier, 99))
        if (members := reader.members(draft.where, entry)) is not None:
            _fill(reader, draft, members, _OLD_KEY, ("name", "token"))
            drafts.append(draft)
    return drafts


def _fill(
    reader: Reader,
    draft: Draft,
    members: Mapping[str, msgspec.Raw],
    fields: Mapping[str, tuple[str, Read]],
    required: Collection[str],
) -> None:
    for name, text in members.items():
        if name not in fields:
            reader.wrong(f"{draft.where}.{shown(name)}", f"is no field of kind {draft.kind}")
            continue
        attribute, read = fields[name]
        if bytes(text) == b"null" and name not in required:
            continue
        if (value := read(reader, f"{draft.where}.{name}", text)) is not None:
            setattr(draft, attribute, value)
    for name in required:
        if name not in members:
            reader.wrong(f"{draft.where}.{name}", "is missing")
