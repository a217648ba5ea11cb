"""Which requests are the same question, so that one answer can serve for both."""

from hashlib import blake2b
from typing import Final, NamedTuple

import msgspec

from proxy.dialects.references import names_local_files
from proxy.exchange import Exchange, Operation

_DIGEST_BYTES: Final = 32
_HARMLESS_FIELDS: Final = frozenset({"system_prompt"})
"""Fields of ours that neither name a conversation nor let anything act."""

_STORED: Final = "openai_responses"
_STATEFUL_FIELDS: Final = ("container", "mcp_servers")
_decoder = msgspec.json.Decoder(dict[str, object])
_encoder = msgspec.json.Encoder(order="deterministic")


class CacheKey(NamedTuple):
    """A question of one client.

    Attributes:
        owner: a digest of the client key.
        digest: BLAKE2b, 32 bytes, of all that decides over the answer.
    """

    owner: str
    digest: bytes


def cache_key(exchange: Exchange, body: bytes, owner: str) -> CacheKey | None:
    """What tells this question from all others; None for one whose answer is not to be kept.

    Two bodies that differ in nothing but the order of keys, spaces, escapes, or an alias of the same model are one
    question. Never kept are answers to a turn of a conversation, to a request that has things done elsewhere or reads
    files of this machine, and to one that asks for chance by a temperature other than 0.
    """
    envelope = exchange.envelope
    if exchange.operation is not Operation.MESSAGES or envelope.thread is not None or envelope.session:
        return None
    if exchange.dialect.name == _STORED:
        # its answers are things of their own, which can be read again and gone on from
        return None
    if not _HARMLESS_FIELDS.issuperset(envelope.own_fields) or names_local_files(body):
        return None
    try:
        fields = _decoder.decode(body)
    except (ValueError, RecursionError):
        # whoever reads it for the upstream says what is wrong with it
        return None
    if fields.get("temperature") not in (None, 0) or any(fields.get(name) for name in _STATEFUL_FIELDS):
        return None
    fields["model"] = exchange.model
    fields["stream"] = envelope.stream
    said = (exchange.dialect.name, exchange.think, exchange.version, exchange.beta, fields)
    try:
        canonical = _encoder.encode(said)
    except RecursionError:
        return None
    return CacheKey(owner, blake2b(canonical, digest_size=_DIGEST_BYTES).digest())
