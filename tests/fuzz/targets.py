"""What is fed nonsense, and what has to be true of it all the same.

A target takes any bytes and returns; whatever it raises is a hole. ``make fuzz`` looks for such bytes with atheris,
the ordinary tests go through the corpus of each target and a few hundred variations of it.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, ip_address
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Final
from urllib.parse import urlsplit

import msgspec

from proxy.dialects.anthropic import AnthropicDialect, MessagesUpstream, encode_request
from proxy.dialects.claude_web import WebStreamDecoder
from proxy.dialects.common import Dialect, Rendering, StreamBroken, Target
from proxy.dialects.decoding import decode_json
from proxy.dialects.openai_chat import ChatUpstream, OpenAIChatDialect
from proxy.dialects.openai_chat.schema import ChatRequest
from proxy.dialects.openai_chat.text import OpenAITextDialect
from proxy.dialects.openai_chat.upstream import passing_body
from proxy.dialects.openai_responses import Call, ResponsesDialect, Seal
from proxy.dialects.openai_responses.schema import ResponsesRequest
from proxy.dialects.sse import EventSplitter, SseDecoder
from proxy.dialects.upstream import MessageBroken, StreamDecoder, UpstreamDialect
from proxy.errors import InvalidRequest
from proxy.model.catalog import Catalog
from proxy.pool.reset_time import stated_reset_unix_ms
from proxy.pool.retry_after import parse_retry_after
from proxy.settings import FetchRule
from proxy.upstreams.image_fetch import Unfetchable, checked_url
from proxy.upstreams.public_address import is_public

CORPUS: Final = Path(__file__).with_name("corpus")
_CAP_BYTES: Final = 1 << 20
_SMALL_CAP_BYTES: Final = 64
_MODELS: Final = ("claude-opus-5-5", "claude-haiku-4-5", "claude-sonnet-5-5", "claude-opus-4-6")
_CATALOG: Final = Catalog.load()
_TARGETS: Final = tuple(Target(facts=_CATALOG.facts(model), model=model) for model in _MODELS)
_UPSTREAMS: Final[tuple[UpstreamDialect, ...]] = (MessagesUpstream(), ChatUpstream())
_RENDERING: Final = Rendering(
    request_id="req_0123456789abcdef01234567", created_s=1_790_000_000, model="m", include_usage=True
)
_NOW_UNIX_MS: Final = 1_790_000_000_000
_LONGEST_WAIT_S: Final = 366 * 86_400.0
_SHOWN_MAX_CHARACTERS: Final = 600
_ANY_HOST: Final = FetchRule(enabled=True)


def dialects() -> tuple[Dialect, ...]:
    """Every dialect clients speak, each as for one call."""
    call = Call(response_id="resp_1", seal=Seal(b"k" * 32), unix_s=lambda: 1_790_000_000)
    return AnthropicDialect(), OpenAIChatDialect(), OpenAITextDialect(), ResponsesDialect(call)


def sse(data: bytes) -> None:
    """Events are the same however a stream is cut, and nothing but a broken stream is raised."""
    chosen, stream = _chosen(data)
    whole = SseDecoder(_CAP_BYTES).feed(stream)
    pieces = list(_cut(stream, chosen + 1))
    decoder, reader, splitter = SseDecoder(_CAP_BYTES), SseDecoder(_CAP_BYTES), EventSplitter(_CAP_BYTES)
    assert [frame for piece in pieces for frame in decoder.feed(piece)] == whole
    assert [found for piece in pieces for found in reader.feed_data(piece)] == [each.data for each in whole]
    passed = b"".join([splitter.feed(piece) for piece in pieces])
    assert stream.startswith(passed)
    assert SseDecoder(_CAP_BYTES).feed(passed) == whole
    small, passing = SseDecoder(_SMALL_CAP_BYTES), EventSplitter(_SMALL_CAP_BYTES)
    for feed in (small.feed, passing.feed):
        try:
            for piece in pieces:
                feed(piece)
        except StreamBroken:
            pass


def requests(data: bytes) -> None:
    """A body becomes a request of the Messages API, or a 400; of either kind whatever the dialect."""
    chosen, body = _chosen(data)
    spoken = dialects()
    dialect, target = spoken[chosen % len(spoken)], _TARGETS[chosen // len(spoken) % len(_TARGETS)]
    try:
        dialect.peek(body)
        translated = dialect.decode_request(body, target)
        sent = encode_request(translated.request)
    except InvalidRequest as refused:
        _is_sound(dialect, refused)
    else:
        msgspec.json.decode(sent, type=dict[str, msgspec.Raw])
        assert all(loss.field.isascii() for loss in translated.dropped)
    try:
        passed, _ = passing_body(
            body, model="m", stream=True, include_usage=False, own_fields=("session_id",)
        )
    except InvalidRequest:
        return
    assert msgspec.json.decode(passed, type=dict[str, msgspec.Raw])["model"] == msgspec.Raw(b'"m"')


def streams(data: bytes) -> None:
    """What an upstream sends becomes frames that every client can read, or a broken stream."""
    chosen, stream = _chosen(data)
    for decoder in _decoders():
        encoders = [dialect.stream_encoder(_RENDERING) for dialect in dialects()]
        written = [bytearray() for _ in encoders]
        try:
            for piece in _cut(stream, chosen + 1):
                events = decoder.feed(piece)
                for encoder, text in zip(encoders, written, strict=True):
                    text.extend(encoder.encode(events))
        except StreamBroken:
            pass
        for text in written:
            for frame in SseDecoder(_CAP_BYTES).feed(bytes(text)):
                assert frame.data == b"[DONE]" or msgspec.json.decode(frame.data, type=dict[str, msgspec.Raw])
    for upstream in _UPSTREAMS:
        tap = upstream.stream_tap(_CAP_BYTES, hides_usage=True)
        try:
            for piece in _cut(stream, chosen + 1):
                tap.feed(piece)
            tap.end()
        except StreamBroken:
            pass


def decoding(data: bytes) -> None:
    """JSON of a client is decoded or refused in a few words; that of an upstream is an answer or a broken one."""
    for kind in (ChatRequest, ResponsesRequest, dict[str, msgspec.Raw]):
        try:
            decode_json(kind, data, at="messages[0]")
        except InvalidRequest as refused:
            _is_sound(OpenAIChatDialect(), refused)
    for upstream in _UPSTREAMS:
        upstream.decode_error(data)
        for read in (upstream.summarize, upstream.decode_message, upstream.spelled):
            with suppress(MessageBroken):
                read(data)


def urls(data: bytes) -> None:
    """A URL that may be fetched is read alike by two parsers, and holds nothing but a host, a port and a path."""
    text = data.decode("utf-8", "replace")
    is_public(text)
    try:
        url = checked_url(text, _ANY_HOST)
    except (Unfetchable, ValueError):
        return
    other = urlsplit(text)
    port = other.port or {"http": 80, "https": 443}[other.scheme]
    assert (_host(url.raw_host), url.port) == (_host(other.hostname), port)
    assert other.username is None
    assert other.password is None
    assert text.isascii()
    assert text.isprintable()
    assert "\\" not in text


def addresses(data: bytes) -> None:
    """No address inside this machine or its network is public, whatever stands around it."""
    if len(data) in {4, 16}:
        address = IPv4Address(data) if len(data) == 4 else IPv6Address(data)
        inner = address.ipv4_mapped if isinstance(address, IPv6Address) else None
        if is_public(str(address)):
            meant = inner or address
            inside = (meant.is_private, meant.is_loopback, meant.is_link_local)
            assert not any((*inside, meant.is_multicast, meant.is_unspecified, meant.is_reserved))


def waits(data: bytes) -> None:
    """However long an upstream asks us to stay away, it is a number within a year, or nothing."""
    text = data.decode("latin-1")
    for headers in ({"retry-after": text}, {"retry-after-ms": text}):
        wait_s = parse_retry_after(headers, now_unix_ms=_NOW_UNIX_MS)
        assert wait_s is None or 0 <= wait_s <= _LONGEST_WAIT_S
    headers = {"anthropic-ratelimit-unified-reset": text, "anthropic-ratelimit-tokens-reset": text}
    stated = stated_reset_unix_ms(text, headers, counted=True, monthly=True, now_unix_ms=_NOW_UNIX_MS)
    assert stated is None or stated > 0


Fuzzed = Callable[[bytes], None]
TARGETS: Final[Mapping[str, Fuzzed]] = MappingProxyType(
    {
        "sse": sse,
        "requests": requests,
        "streams": streams,
        "decoding": decoding,
        "urls": urls,
        "addresses": addresses,
        "waits": waits,
    }
)


def seeds(target: str) -> list[bytes]:
    """The corpus of a target, in the order of its files' names."""
    return [path.read_bytes() for path in sorted((CORPUS / target).iterdir())]


def _chosen(data: bytes) -> tuple[int, bytes]:
    """A choice, which the first byte makes, and the rest."""
    return (data[0], data[1:]) if data else (0, b"")


def _cut(data: bytes, size: int) -> Iterator[bytes]:
    edges = [*range(0, len(data), size), len(data)]
    for start, end in pairwise(edges):
        yield data[start:end]


def _decoders() -> tuple[StreamDecoder | WebStreamDecoder, ...]:
    spoken = [upstream.stream_decoder(_CAP_BYTES) for upstream in _UPSTREAMS]
    return (*spoken, WebStreamDecoder(_CAP_BYTES, input_tokens=7, stop_sequences=("stop",), max_tokens=100))


def _host(name: str | None) -> object:
    """A host by what it means: addresses are spelled in many ways."""
    try:
        return ip_address(name or "")
    except ValueError:
        return name


def _is_sound(dialect: Dialect, refused: InvalidRequest) -> None:
    """A refusal is a 400 in JSON, and repeats little of what it refuses."""
    rendered = dialect.render_error(refused, _RENDERING.request_id)
    assert rendered.status in {400, 404, 413, 422}
    msgspec.json.decode(rendered.body, type=dict[str, msgspec.Raw])
    assert len(refused.message) <= _SHOWN_MAX_CHARACTERS
