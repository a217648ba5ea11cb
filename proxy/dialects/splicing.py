"""Rewriting the top level of a JSON object without touching what lies below it."""

from collections.abc import Collection, Mapping

import msgspec

from proxy.dialects.decoding import invalid

_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])
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
    try:
        fields = _decoder.decode(body)
    except (ValueError, RecursionError) as error:
        raise invalid(error) from None
    for name in remove:
        fields.pop(name, None)
    for name, value in set.items():
        fields[name] = msgspec.Raw(value)
    return _encoder.encode(fields)


def without_doubles(body: bytes) -> bytes:
    """The same without any change: each key comes once, so that nobody can read another of its values than we."""
    try:
        return _encoder.encode(_decoder.decode(body))
    except (ValueError, RecursionError) as error:
        raise invalid(error) from None
