"""A batch as clients see it: its results lie here, not at the upstream, where a client has no key."""

import msgspec

from proxy.dialects.splicing import splice

_ID_PATH = "/v1/messages/batches/{}/results"


class _Batch(msgspec.Struct):
    id: str
    results_url: str | None = None


def shown_batch(body: bytes | msgspec.Raw) -> bytes:
    """The same with the address of its results as a path of ours, which SDKs add to the address they know.

    An answer that is no batch stays as it is.
    """
    try:
        batch = msgspec.json.decode(body, type=_Batch)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return bytes(body)
    if batch.results_url is None:
        return bytes(body)
    path = _ID_PATH.format(batch.id)
    return splice(body, set={"results_url": msgspec.json.encode(path)}, remove=())
