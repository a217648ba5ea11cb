"""A value that fits a JSON schema: what the simulated model puts into tool calls and structured answers."""

_MAX_DEPTH = 12
_BY_FORMAT = {
    "date-time": "2026-01-01T00:00:00Z", "date": "2026-01-01", "time": "00:00:00Z", "duration": "P1D",
    "email": "sim@example.com", "hostname": "example.com", "uri": "https://example.com/", "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1", "uuid": "00000000-0000-4000-8000-000000000000",
}  # fmt: skip

Schema = dict[str, object]


def sample(schema: Schema) -> object:
    """A value for `schema`: the first of alternatives, one item in an array, every property of an object.

    References into the schema itself are followed, to a depth of twelve; what is deeper, or says nothing
    about its type, becomes an object without properties.
    """
    return _sample(schema, schema, 0)


def _sample(schema: Schema, root: Schema, depth: int) -> object:
    if depth > _MAX_DEPTH:
        return {}
    if "const" in schema:
        return schema["const"]
    match schema:
        case {"enum": [first, *_]}:
            return first
        case {"$ref": str(pointer)}:
            return _sample(_resolve(pointer, root), root, depth + 1)
        case {"anyOf": [dict(first), *_]} | {"oneOf": [dict(first), *_]}:
            return _sample(first, root, depth + 1)
        case {"allOf": [dict(first), *rest]}:
            merged: Schema = dict(first)
            for part in rest:
                merged |= part if isinstance(part, dict) else {}
            return _sample(merged, root, depth + 1)
        case _:
            return _by_type(schema, root, depth)


def _by_type(schema: Schema, root: Schema, depth: int) -> object:
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((name for name in kind if name != "null"), "null")
    match kind:
        case "string":
            return _BY_FORMAT.get(str(schema.get("format")), "simulated")
        case "integer" | "number":
            return 1
        case "boolean":
            return True
        case "null":
            return None
        case "array":
            items = schema.get("items")
            return [_sample(items, root, depth + 1)] if isinstance(items, dict) else []
        case _:
            properties = schema.get("properties")
            if not isinstance(properties, dict):
                return {}
            return {
                name: _sample(part, root, depth + 1)
                for name, part in properties.items()
                if isinstance(part, dict)
            }


def _resolve(pointer: str, root: Schema) -> Schema:
    found: object = root
    for part in pointer.removeprefix("#").strip("/").split("/"):
        name = part.replace("~1", "/").replace("~0", "~")
        found = found.get(name) if isinstance(found, dict) and name else found
    return found if isinstance(found, dict) else {}
