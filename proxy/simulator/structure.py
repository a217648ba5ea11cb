"""Which schemas the simulated Claude compiles, and which forms of answers it takes together.

Written without a look at how the gateway cuts schemas, so that a mistake there does not hide here. Source: "Structured
outputs" in Anthropic's documentation; wordings, where they are known, from public reports.
"""

from collections.abc import Iterator

from proxy.simulator.wire import TokenRequest

_FORMAT = "output_config.format"
_MAX_STRICT = 20
_MAX_OPTIONAL = 24
_MAX_UNIONS = 16
_TOO_COMPLEX = "Schema is too complex for compilation."
_UNSUPPORTED = {
    "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    "string": ("minLength", "maxLength"),
    "array": ("maxItems", "uniqueItems", "contains", "prefixItems"),
    "object": (
        "patternProperties",
        "propertyNames",
        "minProperties",
        "maxProperties",
        "unevaluatedProperties",
    ),
}
_NEVER = ("oneOf", "not", "if", "then", "else", "dependentSchemas", "dependentRequired")
_FORMATS = ("date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid")
_MAX_DEPTH = 64

Schema = dict[str, object]


class _Count:
    """What all schemas of a request have together."""

    optional = 0
    unions = 0


def structure_fault(request: TokenRequest) -> str | None:
    """Why the forms a request asks for are refused, or None."""
    return next(_faults(request), None)


def _faults(request: TokenRequest) -> Iterator[str]:
    count = _Count()
    wanted = request.output_config.format if request.output_config is not None else None
    if wanted is not None:
        if wanted.type != "json_schema":
            yield f"{_FORMAT}.type: Input should be 'json_schema'"
        yield from _schema(wanted.schema, wanted.schema, f"{_FORMAT}.schema", count)
        if request.messages and request.messages[-1].role == "assistant":
            yield f"{_FORMAT}: not supported together with assistant message prefill"
    strict = [(index, tool) for index, tool in enumerate(request.tools or ()) if tool.strict]
    if len(strict) > _MAX_STRICT:
        yield f"tools: at most {_MAX_STRICT} strict tools are supported"
    for index, tool in strict:
        schema = tool.input_schema or {}
        yield from _schema(schema, schema, f"tools.{index}.custom", count)
    if count.optional > _MAX_OPTIONAL or count.unions > _MAX_UNIONS:
        yield _TOO_COMPLEX


def _schema(
    node: object, root: Schema, where: str, count: _Count, above: tuple[str, ...] = ()
) -> Iterator[str]:
    if not isinstance(node, dict) or not node or len(above) > _MAX_DEPTH:
        yield f"{where}: every part of a schema has to be an object that says what it describes"
        return
    kinds = _kinds(node)
    count.unions += len(kinds) > 1 or "anyOf" in node
    yield from _keywords(node, kinds, where)
    if "object" in kinds:
        required = node.get("required")
        count.optional += len(
            set(_named(node, "properties")) - set(required if isinstance(required, list) else ())
        )
    if isinstance(pointer := node.get("$ref"), str):
        yield from _reference(pointer, root, where, count, above)
    # a definition is looked at where it is referred to
    for name, part in _named(node, "properties").items():
        yield from _schema(part, root, f"{where}.{name}", count, above)
    if "items" in node:
        yield from _schema(node["items"], root, f"{where}.items", count, above)
    for key in ("anyOf", "allOf"):
        parts = node.get(key)
        for part in parts if isinstance(parts, list) else ():
            yield from _schema(part, root, f"{where}.{key}", count, above)


def _reference(
    pointer: str, root: Schema, where: str, count: _Count, above: tuple[str, ...]
) -> Iterator[str]:
    keyword, _, name = pointer.removeprefix("#/").partition("/")
    definition = _named(root, keyword).get(name)
    if not pointer.startswith("#/") or definition is None:
        yield f"{where}: {pointer} cannot be resolved"
    elif pointer in above:
        yield f"{where}: recursive schemas are not supported"
    else:
        yield from _schema(definition, root, where, count, (*above, pointer))


def _keywords(node: Schema, kinds: tuple[str, ...], where: str) -> Iterator[str]:
    if "object" in kinds and node.get("additionalProperties") is not False:
        yield f"{where}: For 'object' type, 'additionalProperties' must be explicitly set to false"
    for kind in kinds:
        names = _UNSUPPORTED.get("number" if kind == "integer" else kind, ())
        if found := [name for name in names if name in node]:
            yield f"{where}: For '{kind}' type, properties {', '.join(found)} are not supported"
    if found := [name for name in _NEVER if name in node]:
        yield f"{where}: {', '.join(found)} is not supported"
    if node.get("minItems") not in (None, 0, 1):
        yield f"{where}: For 'array' type, 'minItems' values other than 0 or 1 are not supported"
    if node.get("format") not in (None, *_FORMATS):
        yield f"{where}: String format '{node['format']}' is not supported"
    values = node.get("enum")
    if isinstance(values, list) and any(isinstance(value, dict | list) for value in values):
        yield f"{where}: Enum values have to be scalars"
    if "allOf" in node and "$ref" in str(node["allOf"]):
        yield f"{where}: allOf with $ref is not supported"


def _kinds(node: Schema) -> tuple[str, ...]:
    kind = node.get("type")
    if isinstance(kind, list):
        return tuple(str(one) for one in kind)
    return () if kind is None else (str(kind),)


def _named(node: Schema, key: str) -> Schema:
    found = node.get(key)
    return found if isinstance(found, dict) else {}
