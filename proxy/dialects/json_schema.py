"""JSON schemas, cut to what the Messages API compiles.

Source: "Structured outputs" and "Tool use" in Anthropic's documentation. Structured outputs and strict tools know a
part of JSON Schema only: closed objects, no recursion, no bounds on numbers, texts and lists. What is cut off is told
to the model in the description beside it. The input of any tool is an object without alternatives at its top.
"""

import re
from collections.abc import Callable, Mapping
from graphlib import CycleError, TopologicalSorter
from types import MappingProxyType
from typing import Final, TypeAlias, TypeGuard

import msgspec

Node: TypeAlias = dict[str, object]

OPTIONAL_MAX: Final = 24
"""Optional properties in all strict schemas of a request together."""
UNIONS_MAX: Final = 16
"""Properties of more than one type in all strict schemas of a request together."""

_ANNOTATIONS: Final = frozenset(
    ("$anchor", "$comment", "$id", "$schema", "deprecated", "examples", "id", "readOnly", "writeOnly")
)
_FORMATS: Final = frozenset(
    ("date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid")
)
_LEAST_ITEMS: Final = frozenset((0, 1))
_TYPES: Final = frozenset(("array", "boolean", "integer", "null", "number", "object", "string"))
_COMBINED: Final = ("allOf", "anyOf", "oneOf")
_DEFINITIONS: Final = re.compile(r"#/(?:\$defs|definitions)/([^/]+)")
# look-around, references to groups and word boundaries are no regular languages, or not compiled
_BEYOND_PATTERN: Final = re.compile(r"\(\?(?!:)|\\[1-9bBkpP]")
_SAID: Final = frozenset(("description", "title"))
_ROOT: Final = ""
_TOLD_MAX_CHARS: Final = 500


class SchemaBeyond(ValueError):
    """A schema that cannot be cut to what is compiled without another meaning; the message says where and why."""


class StrictSchema(msgspec.Struct, frozen=True):
    """A schema that can be compiled.

    Attributes:
        schema: its JSON text; the same schema gives the same bytes.
        optional: how many properties need not be there.
        unions: how many places take more than one type.
    """

    schema: msgspec.Raw
    optional: int
    unions: int


def strict_schema(schema: bytes | msgspec.Raw) -> StrictSchema:
    """Cut a JSON schema to what structured outputs take. Raises SchemaBeyond."""
    try:
        root = msgspec.json.decode(schema)
        reader = _Reader()
        cut = reader.read(root, _ROOT)
        reader.check_references(cut)
        return StrictSchema(msgspec.Raw(msgspec.json.encode(cut)), reader.optional, reader.unions)
    except RecursionError:
        raise SchemaBeyond("it is nested too deeply") from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise SchemaBeyond("it is no JSON") from None


class _Reader:
    """Reads one schema, and counts what the upstream counts."""

    def __init__(self) -> None:
        self.optional = 0
        self.unions = 0
        self._references: dict[str, set[str]] = {}
        self._within = _ROOT

    def read(self, schema: object, at: str) -> Node:
        """One node of the schema, found at this path."""
        if not isinstance(schema, dict):
            raise SchemaBeyond(f"{at or 'it'} is no object")
        cut: Node = {}
        told: list[str] = []
        for key, value in _merged(schema, at).items():
            if (how := _HOW.get(key)) is not None:
                if not how(self, value, cut, at):
                    told.append(_told(key, value))
            elif key not in _ANNOTATIONS:
                told.append(_told(key, value))
        self._complete(cut, at)
        if told:
            said = str(cut.get("description", ""))
            cut["description"] = f"{said} ({'; '.join(told)})".lstrip()
        return cut

    def _complete(self, cut: Node, at: str) -> None:
        """The type a node has to have, and the end of every object."""
        kind = cut.get("type")
        if kind is None and "properties" in cut:
            kind = cut["type"] = "object"
        if kind is None and not cut.keys() & {"$ref", "anyOf", "enum", "const"}:
            raise SchemaBeyond(f"{at or 'it'} has no type")
        kinds = kind if isinstance(kind, list) else [kind]
        if "array" in kinds and "items" not in cut:
            raise SchemaBeyond(f"{at or 'it'} is a list of anything")
        if "object" in kinds:
            properties = cut.get("properties")
            if not isinstance(properties, dict):
                raise SchemaBeyond(f"{at or 'it'} is an object of any properties")
            required = cut.get("required")
            self.optional += len(properties.keys() - set(required if isinstance(required, list) else ()))
            cut["additionalProperties"] = False

    def kind(self, value: object, cut: Node, at: str) -> bool:
        """The type, or several."""
        kinds = value if isinstance(value, list) else [value]
        if not kinds or not all(isinstance(kind, str) and kind in _TYPES for kind in kinds):
            raise SchemaBeyond(f"{at or 'it'} has a type that is none")
        self.unions += len(kinds) > 1
        cut["type"] = value
        return True

    def properties(self, value: object, cut: Node, at: str) -> bool:
        """What an object may have."""
        cut["properties"] = {
            name: self.read(part, f"{at}.properties.{name}") for name, part in _node(value, at).items()
        }
        return True

    def definitions(self, value: object, cut: Node, at: str) -> bool:
        """Schemas that are referred to."""
        found: Node = {}
        for name, part in _node(value, at).items():
            self._within, before = name, self._within
            found[name] = self.read(part, f"{at}.$defs.{name}")
            self._within = before
        cut["$defs"] = {**_node(cut.get("$defs", {}), at), **found}
        return True

    def items(self, value: object, cut: Node, at: str) -> bool:
        """What a list is made of."""
        cut["items"] = self.read(value, f"{at}.items")
        return True

    def alternatives(self, value: object, cut: Node, at: str) -> bool:
        """One of several schemas."""
        if not isinstance(value, list) or not value or "anyOf" in cut:
            raise SchemaBeyond(f"{at or 'it'} has alternatives that cannot be told apart")
        self.unions += 1
        cut["anyOf"] = [self.read(part, f"{at}.anyOf[{place}]") for place, part in enumerate(value)]
        return True

    def reference(self, value: object, cut: Node, at: str) -> bool:
        """A schema among the definitions."""
        found = _DEFINITIONS.fullmatch(value) if isinstance(value, str) else None
        if found is None:
            raise SchemaBeyond(f"{at or 'it'} refers to something else than its own definitions")
        self._references.setdefault(self._within, set()).add(found[1])
        cut["$ref"] = f"#/$defs/{found[1]}"
        return True

    def open_end(self, value: object, _cut: Node, at: str) -> bool:
        """Properties nobody named: none are taken."""
        if isinstance(value, dict) and value:
            raise SchemaBeyond(f"{at or 'it'} is an object of any properties")
        return True

    def constant(self, value: object, cut: Node, at: str) -> bool:
        """One value; whatever it is, it has to be a scalar."""
        if isinstance(value, dict | list):
            raise SchemaBeyond(f"{at or 'it'} allows values that are no scalars")
        cut["const"] = value
        return True

    def choices(self, value: object, cut: Node, at: str) -> bool:
        """One of several scalars."""
        if not isinstance(value, list) or any(isinstance(one, dict | list) for one in value):
            raise SchemaBeyond(f"{at or 'it'} allows values that are no scalars")
        cut["enum"] = value
        return True

    def check_references(self, root: Node) -> None:
        """Every definition is there, and none holds itself. Raises SchemaBeyond."""
        definitions = _node(root.get("$defs", {}), _ROOT)
        for names in self._references.values():
            if missing := names - definitions.keys():
                raise SchemaBeyond(f"{min(missing)} is not defined at the top")
        try:
            TopologicalSorter(self._references).prepare()
        except CycleError:
            raise SchemaBeyond("a definition holds itself") from None


def _kept(key: str, allowed: Callable[[object], bool] = lambda _: True) -> "_How":
    """A reader of a key that stays as it is where its value is allowed."""

    def keep(_reader: _Reader, value: object, cut: Node, _at: str) -> bool:
        if allowed(value):
            cut[key] = value
            return True
        return False

    return keep


def _are_names(value: object) -> TypeGuard[list[str]]:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


def _is_regular(pattern: object) -> bool:
    return isinstance(pattern, str) and _BEYOND_PATTERN.search(pattern) is None


_How: TypeAlias = Callable[[_Reader, object, Node, str], bool]
_HOW: Final[Mapping[str, _How]] = MappingProxyType(
    {
        "$defs": _Reader.definitions,
        "$ref": _Reader.reference,
        "additionalProperties": _Reader.open_end,
        "anyOf": _Reader.alternatives,
        "const": _Reader.constant,
        "default": _kept("default"),
        "definitions": _Reader.definitions,
        "description": _kept("description", lambda value: isinstance(value, str)),
        "enum": _Reader.choices,
        "format": _kept("format", lambda value: isinstance(value, str) and value in _FORMATS),
        "items": _Reader.items,
        "minItems": _kept("minItems", lambda value: isinstance(value, int) and value in _LEAST_ITEMS),
        "oneOf": _Reader.alternatives,
        "pattern": _kept("pattern", _is_regular),
        "properties": _Reader.properties,
        "required": _kept("required", _are_names),
        "title": _kept("title"),
        "type": _Reader.kind,
    }
)
"""What becomes of each keyword; a reader that returns False leaves it to the description."""


def _told(key: str, value: object) -> str:
    text = msgspec.json.encode(value).decode("utf-8", "replace")
    return f"{key}: {text if len(text) <= _TOLD_MAX_CHARS else text[:_TOLD_MAX_CHARS] + '…'}"


def _node(value: object, at: str) -> Node:
    if not isinstance(value, dict):
        raise SchemaBeyond(f"{at or 'it'} holds something that is no object")
    return value


def _merged(schema: Node, at: str) -> Node:
    """A node with the parts that all have to hold joined into one: closed objects exclude each other."""
    parts = schema.get("allOf")
    if parts is None:
        return schema
    if not isinstance(parts, list):
        raise SchemaBeyond(f"{at or 'it'} has no list of parts")
    merged = {key: value for key, value in schema.items() if key != "allOf"}
    properties: Node = {}
    required: dict[str, None] = {}
    for part in parts:
        for key, value in _merged(_node(part, at), at).items():
            known = merged.setdefault(key, value)
            if known == value or key in _SAID:
                continue
            if (
                key == "properties"
                and isinstance(known, dict)
                and isinstance(value, dict)
                and known.keys().isdisjoint(value.keys())
            ):
                # a new object for each of many parts would take the square of their number
                properties = merged[key] = properties or {**known}
                properties.update(value)
            elif key == "required" and _are_names(known) and _are_names(value):
                required = required or dict.fromkeys(known)
                required.update(dict.fromkeys(value))
            else:
                raise SchemaBeyond(f"{at or 'it'} joins parts that contradict each other")
    if required:
        merged["required"] = [*required]
    if "$ref" in merged and len(parts) > 1:
        raise SchemaBeyond(f"{at or 'it'} joins a definition with something else")
    return merged


class InputSchema(msgspec.Struct, frozen=True):
    """The schema of a tool's input.

    Attributes:
        schema: its JSON text.
        lost: which keywords could not stay at the top, and are told in the description.
    """

    schema: msgspec.Raw
    lost: tuple[str, ...] = ()


def input_schema(fields: Mapping[str, msgspec.Raw] | None) -> InputSchema:
    """A schema that a tool's input may have: an object, without alternatives at its top.

    Alternatives of plain objects become one object of all their properties, of which only those stay required that
    all of them require; others are told in words. Raises SchemaBeyond for a schema of anything but objects.
    """
    fields = fields or {"type": msgspec.Raw(b'"object"'), "properties": msgspec.Raw(b"{}")}
    if "type" not in fields:
        fields = {"type": msgspec.Raw(b'"object"'), **fields}
    if bytes(fields["type"]) == b'"object"' and not fields.keys() & set(_COMBINED):
        return InputSchema(msgspec.Raw(msgspec.json.encode(fields)))
    try:
        return _flattened({key: msgspec.json.decode(value) for key, value in fields.items()})
    except RecursionError:
        raise SchemaBeyond("it is nested too deeply") from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise SchemaBeyond("it is no JSON") from None


def _flattened(schema: Node) -> InputSchema:
    kind = schema["type"]
    if "object" not in (kind if isinstance(kind, list) else [kind]):
        raise SchemaBeyond("it describes no object")
    flat: Node = {key: value for key, value in schema.items() if key not in _COMBINED} | {"type": "object"}
    told: list[str] = []
    for key in _COMBINED:
        parts = schema.get(key)
        if parts is not None and not _absorbed(flat, parts, every=key == "allOf"):
            told.append(key)
    if told:
        said = str(flat.get("description", ""))
        words = "; ".join(_told(key, schema[key]) for key in told)
        flat["description"] = f"{said} ({words})".lstrip()
    return InputSchema(msgspec.Raw(msgspec.json.encode(flat)), tuple(told))


def _absorbed(flat: Node, parts: object, *, every: bool) -> bool:
    """Take the properties of all parts into the object; whether they were such that it could be done."""
    if not isinstance(parts, list) or not all(_is_plain(part) for part in parts):
        return False
    own_properties = flat.get("properties", {})
    if not isinstance(own_properties, dict):
        return False
    properties = dict(own_properties)
    required: dict[str, None] = {}
    for place, part in enumerate(parts):
        for name, described in part.get("properties", {}).items():
            known = properties.setdefault(name, described)
            if known != described:
                properties[name] = {"anyOf": [known, described]}
        wanted = dict.fromkeys(part.get("required", ()))
        if every or not place:
            required |= wanted
        else:
            required = {name: None for name in required if name in wanted}
    flat["properties"] = properties
    own = flat.get("required")
    both = [*(own if isinstance(own, list) and _are_names(own) else ()), *required]
    if both:
        flat["required"] = list(dict.fromkeys(both))
    return True


def _is_plain(part: object) -> bool:
    if not isinstance(part, dict) or not part.keys() <= {
        "type", "properties", "required", "title", "description", "additionalProperties",
    }:  # fmt: skip
        return False
    return (
        part.get("type", "object") == "object"
        and isinstance(part.get("properties", {}), dict)
        and _are_names(part.get("required", []))
    )
