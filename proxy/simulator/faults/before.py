"""Every way an upstream can fail before the first byte of its answer.

What a failure means for the credential and for further attempts is this project's own promise; see
``docs/reliability.md``, which is made from this table.
"""

from dataclasses import replace
from typing import Final

from proxy.simulator.faults.fault import (
    CANARY,
    PAGE,
    Address,
    Fault,
    billing,
    body,
    broken,
    challenge,
    denied,
    event,
    limited,
    overloaded,
    page,
    request,
    silent,
    status,
    unknown,
    unreachable,
)
from proxy.simulator.faults.told import (
    DOWN,
    INVALID,
    NO_MODEL,
    RESTING,
    TIMED_OUT,
    TOO_LARGE,
    UNPROCESSABLE,
    UNUSABLE,
)
from proxy.simulator.script import Step

_STREAM: Final = {"content-type": "text/event-stream"}
_QUOTING: Final = "max_tokens: no, {key} of {org}"
_DEAD: Final = Fault(step=Step(), told=UNUSABLE, calls=3, state="disabled(auth)", should_retry="false")
_REFUSED: Final = Fault(
    step=status(401),
    told=RESTING,
    calls=3,
    state="cooling(auth)",
    retry_after=(60, 30),
    should_retry="false",
)


def _raw(text: str, **headers: str) -> Step:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Step("raw", headers={**_STREAM, **named}, body=text)


def _json(text: str) -> Step:
    return Step("raw", headers={"content-type": "application/json"}, body=text)


def _error_in_json(kind: str) -> Step:
    return _json(f'{{"type": "error", "error": {{"type": "{kind}", "message": "No."}}}}')


def _head(lines: str) -> Step:
    return Step("garbage", body=f"HTTP/1.1 200 OK\r\n{lines}\r\n\r\n")


CONNECTIONS: Final = {
    "connection refused": unreachable(Address.CLOSED),
    "connection never taken": unreachable(Address.SWALLOWING, TIMED_OUT, hurry_s=1.0),
    "host name that does not exist": unreachable(Address.NAMELESS),
    "TLS: the server does not speak it": unreachable(Address.NO_TLS),
    "TLS: a certificate nobody vouches for": unreachable(Address.SELF_SIGNED),
    "connection reset before any header": broken(Step("reset_before_headers")),
    "connection closed before any header": broken(Step("close_before_headers")),
    "307 to another address": unknown(Step("redirect", location="/canary")),
    "301 to another address": unknown(Step("redirect", status=301, location="/canary")),
    "302 to another address": unknown(Step("redirect", status=302, location="/canary")),
    "308 to another host": unknown(Step("redirect", status=308, location="http://localhost:1/canary")),
}
"""Failures of the way to an upstream."""

SILENCE: Final = {
    "no header comes": silent(Step("stall_before_headers")),
    "the headers come one byte a second": silent(Step("slow_head", bytes_per_s=1.0)),
    "headers, and then nothing": silent(Step("stall_before_event")),
    "headers, and then pings alone": silent(Step("pings_only", ping_every_s=5.0), (True,)),
    "the body comes one byte a second": silent(Step("slow_bytes", bytes_per_s=1.0), (False,)),
}
"""Waiting in vain."""

STATUSES: Final = {
    "400": request(status(400, "max_tokens: must be smaller"), message="max_tokens: must be smaller"),
    "400 that quotes the key and its owner": request(
        status(400, _QUOTING), message="max_tokens: no, [redacted] of [redacted]"
    ),
    "400 that quotes a client": request(
        status(400, "messages.0: 'Your credit balance is too low'"), message="messages.0: 'Your credit"
    ),
    "400 with a page": request(page(400)),
    "413": request(status(413), TOO_LARGE, "Request exceeds the maximum size"),
    "413 with a page": request(page(413), TOO_LARGE),
    "422": request(status(422, "tools: odd"), UNPROCESSABLE, "tools: odd"),
    "401": _REFUSED,
    "401 with a page": replace(_REFUSED, step=page(401)),
    '400 "This organization has been disabled…"': replace(
        _DEAD, step=status(400, "This organization has been disabled.")
    ),
    "403 with code organization_on_hold": replace(_DEAD, step=status(403, code="organization_on_hold")),
    "402": billing(status(402)),
    "402 with a page": billing(page(402)),
    '400 "Your credit balance is too low…"': billing(
        status(400, "Your credit balance is too low to access the API.")
    ),
    '400 "You have reached your specified API usage limits…"': billing(
        status(400, "You have reached your specified API usage limits. You will regain access later.")
    ),
    '400 "You have reached your specified workspace API usage limits…"': billing(
        status(400, "You have reached your specified workspace API usage limits.")
    ),
    "429 with code enforced_spend_limit_reached": billing(status(429, code="enforced_spend_limit_reached")),
    "403": denied(status(403)),
    "403 that quotes the key and its owner": denied(status(403, "{key} of {org} may not")),
    "404 of the model": Fault(
        step=status(404, "model: claude-sonnet-5-5"), told=NO_MODEL, calls=2, state="cooling(permission)"
    ),
    "404 of anything else": unknown(status(404)),
    "429, retry-after 300": limited(status(429, retry_after="300"), 300, "false"),
    "429, retry-after 40": limited(status(429, retry_after="40"), 40),
    "429, retry-after-ms 40000": limited(status(429, retry_after_ms="40000", retry_after="1"), 40),
    "429, retry-after a thousand million": limited(status(429, retry_after="1000000000"), 3600, "false"),
    "429, retry-after 0": limited(status(429, retry_after="0"), 1),
    "429, retry-after negative": limited(status(429, retry_after="-5"), 1),
    "429, retry-after no number": limited(status(429, retry_after="abc"), 5),
    "429 without a time": limited(status(429), 5),
    "408": broken(status(408), TIMED_OUT),
    "409": unknown(status(409)),
    "418": unknown(status(418)),
    "418 that asks for a retry": replace(broken(status(418, x_should_retry="true")), strike=False),
    "425": unknown(status(425)),
    "451": unknown(status(451)),
    "500": broken(status(500, CANARY)),
    "500 with a page": broken(page(500)),
    "500 without a body": broken(body(500, "")),
    "500 with 10 MB": broken(body(500, CANARY * 1_700_000)),
    "500 with half a JSON": broken(body(500, '{"type": "error", "error": {"type": "api_error", "mess')),
    "500 that quotes the key and its owner": broken(body(500, "{key} {org}")),
    "500 that asks for no retry": broken(status(500, x_should_retry="false"), calls=1),
    "502": broken(status(502)),
    "503": broken(status(503), DOWN),
    "503, retry-after 1": replace(
        broken(status(503, retry_after="1"), DOWN), retry_after=(1, 1), hurry_s=0.5
    ),
    "504": broken(status(504), TIMED_OUT),
    **{str(number): broken(status(number)) for number in (520, 521, 522, 523, 525, 526)},
    "524": broken(status(524), TIMED_OUT),
    "529": overloaded(status(529)),
    "403 with a page": challenge(page(403)),
    "429 with a page": challenge(page(429)),
    "503 with a page": challenge(page(503)),
    "403 with cf-mitigated": challenge(status(403, cf_mitigated="challenge")),
}
"""Answers that are errors."""

ANSWERS: Final = {
    "200, headers, reset before the first event": broken(Step("reset_before_event")),
    "200, headers, closed before the first event": broken(Step("close_before_event")),
    "200 without an event": broken(Step("empty_stream")),
    "200 with pings alone": broken(_raw(': hello\n\nevent: ping\ndata: {"type": "ping"}\n\n')),
    "200 with a page": broken(Step("raw", headers={"content-type": "text/html"}, body=PAGE)),
    "200 with a compressed body nobody asked for": broken(_raw("{}", content_encoding="gzip")),
    "200 with a body compressed by br": broken(_raw(CANARY, content_encoding="br")),
    "200 with a page's content type": replace(broken(Step("wrong_content_type")), forms=(True,)),
    "200 with an error in JSON: overloaded_error": overloaded(_error_in_json("overloaded_error")),
    "200 with an error in JSON: invalid_request_error": request(_error_in_json("invalid_request_error")),
    "200 with JSON that is no message": broken(_json("[1, 2]")),
    "200 with a stream nobody asked for": replace(broken(_raw('data: {"type": "ping"}\n\n')), forms=(False,)),
    "204": broken(Step("raw", status=204, headers=_STREAM)),
    "bytes that are no HTTP": broken(Step("garbage")),
    "a status line that is none": broken(Step("garbage", body=f"HTTP/9.9 {CANARY}\r\n\r\n")),
    "a chunk size that is none": broken(_head("transfer-encoding: chunked\r\n\r\nzz")),
    "a header of 20 KB": broken(_head(f"x: {CANARY * 3500}")),
    "a first event that is no JSON": broken(_raw("data: {broken\n\n")),
    "a first event of wrong types": broken(_raw('data: {"type": "message_start", "message": 5}\n\n')),
    "a delta before the start": broken(
        _raw('event: content_block_delta\ndata: {"type": "content_block_delta", "index": 0}\n\n')
    ),
    "a first event over the cap": broken(_raw(f"data: {'x' * 20_000}\n\n")),
    "an error as the first event: overloaded_error": overloaded(event("overloaded_error")),
    "an error as the first event: api_error": broken(event("api_error", CANARY)),
    "an error as the first event: timeout_error": broken(event("timeout_error"), TIMED_OUT),
    "an error as the first event: rate_limit_error": limited(event("rate_limit_error"), 5),
    "an error as the first event: authentication_error": replace(
        _REFUSED, step=event("authentication_error")
    ),
    "an error as the first event: invalid_request_error": request(event("invalid_request_error"), INVALID),
}
"""Answers that cannot be used."""

FAULTS: Final = {**CONNECTIONS, **SILENCE, **STATUSES, **ANSWERS}
"""Each failure by name."""
