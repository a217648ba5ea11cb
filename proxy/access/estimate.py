"""How many tokens a request will probably take, by its size alone."""

from typing import Final

import msgspec

_BYTES_A_TOKEN: Final = 4
_ATTACHMENT_BYTES: Final = 4096
_ATTACHMENT_TOKENS: Final = 1600
_LOOKED_AT_BYTES: Final = 1024
_ANSWER_TOKENS: Final = 1000


def input_tokens(body: bytes) -> int:
    """Tokens of a request's body, at least 1: a quarter of its bytes, and about a large image for each attachment.

    An attachment is a long string without any space, as base64 is. Source for the size of an image: "Vision" in
    Anthropic's API documentation, which names about 1,600 tokens at most.
    """
    size, attachments = len(body), 0
    if size <= _ATTACHMENT_BYTES:
        return size // _BYTES_A_TOKEN or 1
    # of texts no longer than an attachment only every so many bytes are looked at
    begin, step = 0, _ATTACHMENT_BYTES + 1
    while begin + step <= len(body):
        quote = body.rfind(b'"', begin, begin + step)
        if quote < 0:
            quote = body.find(b'"', begin + step)
            end = quote if quote >= 0 else len(body)
            if body.find(b" ", begin, begin + _LOOKED_AT_BYTES) < 0:
                size -= end - begin
                attachments += 1
            quote = end
        begin = quote + 1
    return max(size // _BYTES_A_TOKEN, 1) + attachments * _ATTACHMENT_TOKENS


class _Params(msgspec.Struct, frozen=True):
    max_tokens: int | None = None


class _Batched(msgspec.Struct):
    params: _Params = _Params()


_batched = msgspec.json.Decoder(_Batched)


def batch_tokens(length_bytes: int) -> int:
    """Tokens of a batch that is yet to come, at least 1, by the length of its body."""
    return max(length_bytes // _BYTES_A_TOKEN, 1)


def batched_tokens(request: bytes) -> int:
    """Tokens of one request of a batch and of its answer."""
    try:
        allowed = _batched.decode(request).params.max_tokens
    except (ValueError, RecursionError):
        # the upstream will refuse it
        allowed = None
    return input_tokens(request) + output_tokens(allowed)


def output_tokens(max_tokens: int | None) -> int:
    """Tokens of an answer: what the client allows, but no more than an answer of middling length.

    Most clients allow many times what they use; to reserve all of it would refuse most of what fits.
    """
    return _ANSWER_TOKENS if max_tokens is None or max_tokens > _ANSWER_TOKENS else max_tokens
