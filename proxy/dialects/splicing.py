"""Rewriting the top level of a JSON object without touching what lies below it."""

from collections.abc import Collection, Mapping
from typing import TypeAlias

import msgspec

from proxy.dialects.decoding import decode_json

_Fields: TypeAlias = dict[str, msgspec.Raw]
"""Spelled once: to spell it again for each body would cost a fifth of a small one's whole rewriting."""
_encoder = msgspec.json.Encoder()


def splice(
    body: bytes | msgspec.Raw,
    *,
    set: Mapping[str, bytes],  # noqa: A002 - a call reads: splice, set this, remove that
    remove: Collection[str],
) -> bytes:
    """Rewrite top-level fields of a JSON object and leave every other byte of its values alone.

    The order of the keys stays, new ones come last, and of a key that came twice only its last value remains,
    in its first place. `set` holds values as JSON. Raises InvalidRequest for a body that is no object.
    """
    fields = decode_json(_Fields, body)
    for name in remove:
        fields.pop(name, None)
    for name, value in set.items():
        fields[name] = msgspec.Raw(value)
    return _encoder.encode(fields)
