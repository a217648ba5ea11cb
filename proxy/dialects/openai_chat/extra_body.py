"""``extra_body``: an argument of OpenAI's Python library, which puts what it holds at the top of the request.

Other libraries, that for Node among them, know no such argument and send it as a field of that name.
"""

from typing import Final

import msgspec

from proxy.dialects.decoding import decode_json
from proxy.dialects.splicing import splice

FIELD: Final = "extra_body"


class _Holding(msgspec.Struct):
    extra_body: dict[str, msgspec.Raw] | None = None


def lifted(body: bytes) -> bytes:
    """A request with what its ``extra_body`` holds at the top, as OpenAI's Python library would have sent it.

    Raises InvalidRequest naming the field where it holds no object.
    """
    held = decode_json(_Holding, body).extra_body or {}
    fields = {name: bytes(value) for name, value in held.items() if name != FIELD}
    return splice(body, set=fields, remove=(FIELD,))
