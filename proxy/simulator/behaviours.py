"""Every way the simulated Claude can answer, by name. A new one is a function here with its name above it."""

import random
from collections.abc import Awaitable, Callable, Iterator

import msgspec

from proxy.errors import ErrorKind
from proxy.simulator import http, render
from proxy.simulator.api import JSON, Reply, replayed
from proxy.simulator.call import Call
from proxy.simulator.chat import chat_error, is_chat
from proxy.simulator.script import Step
from proxy.simulator.sending import send_paced, stall

Behaviour = Callable[[Call, Step], Awaitable[None]]

BEHAVIOURS: dict[str, Behaviour] = {}

_TICK_S = 0.05
_DELTA = b"event: content_block_delta"
_FLOOD_EVENTS = 64
_MOST_RANDOM_BYTES = 40
_GARBAGE = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 no HTTP at all \x00\xff\r\n\r\n"
_TYPES = {
    400: ErrorKind.INVALID_REQUEST,
    401: ErrorKind.AUTHENTICATION,
    402: ErrorKind.BILLING,
    403: ErrorKind.PERMISSION,
    404: ErrorKind.NOT_FOUND,
    408: ErrorKind.TIMEOUT,
    413: ErrorKind.REQUEST_TOO_LARGE,
    429: ErrorKind.RATE_LIMIT,
    500: ErrorKind.API,
    504: ErrorKind.TIMEOUT,
    529: ErrorKind.OVERLOADED,
}
_STATUSES = {kind.value: status for status, kind in reversed(_TYPES.items())}
_MESSAGES = {
    401: "invalid x-api-key",
    402: "Your organization has a billing problem.",
    403: "Your API key does not have permission to use the specified resource.",
    404: "Not Found",
    408: "Request timed out",
    413: "Request exceeds the maximum size",
    429: "This request would exceed your organization's rate limit.",
    504: "The request timed out while processing.",
    529: "Overloaded",
}


def named(name: str) -> Callable[[Behaviour], Behaviour]:
    """Puts a behaviour into the registry."""

    def register(behaviour: Behaviour) -> Behaviour:
        BEHAVIOURS[name] = behaviour
        return behaviour

    return register


def _reply(call: Call, step: Step) -> Reply:
    return replayed(step.stream_body) if step.stream_body is not None else call.reply(step)


async def _send_first(call: Call, step: Step, count: int, reply: Reply | None = None) -> list[bytes]:
    """Send headers and the first events; gives the events left."""
    reply = reply or _reply(call, step)
    call.begin(reply, step.headers, close_delimited=step.close_delimited)
    for frame in reply.frames[:count]:
        call.write(frame)
    await call.flush()
    return reply.frames[count:]


def _finish(call: Call, frames: list[bytes]) -> None:
    for frame in frames:
        call.write(frame)
    call.end()


@named("success")
async def _success(call: Call, step: Step) -> None:
    reply = _reply(call, step)
    await send_paced(call, reply, step.pace or call.services.pace, step)


@named("status")
async def _status(call: Call, step: Step) -> None:
    reply = error_reply(call, step)
    call.begin(reply, step.headers)
    _finish(call, reply.frames)


def error_reply(call: Call, step: Step) -> Reply:
    """The error a step describes: its own body, or an envelope."""
    status = step.status or _STATUSES.get(step.type, 500)
    if step.body_bytes is not None:
        return Reply(status, JSON, [step.body_bytes])
    if step.body is not None:
        looks_html = step.body.lstrip().startswith("<")
        content_type = "text/html; charset=utf-8" if looks_html else "text/plain; charset=utf-8"
        return Reply(status, content_type, [step.body.encode()])
    return Reply(status, JSON, [_error(call, step, status)])


def _error(call: Call, step: Step, status: int) -> bytes:
    if is_chat(call.request.path):
        message = step.message or _MESSAGES.get(status, "The server had an error.")
        return chat_error(status, message, kind=step.type, code=step.error_code)
    kind = step.type or _TYPES.get(status, ErrorKind.API if status >= 500 else ErrorKind.INVALID_REQUEST)
    message = step.message or _MESSAGES.get(status, "Internal server error")
    details: dict[str, object] | None = {"error_code": step.error_code} if step.error_code else None
    return render.error_body(kind, message, request_id=call.request.request_id, details=details)


@named("refuse_connection")
async def _refuse_connection(call: Call, step: Step) -> None:
    call.services.refuse(step.seconds)
    call.cut("reset")


@named("reset_before_headers")
async def _reset_before_headers(call: Call, _step: Step) -> None:
    call.cut("reset")


@named("close_before_headers")
async def _close_before_headers(call: Call, _step: Step) -> None:
    call.cut("close")


@named("reset_before_event")
async def _reset_before_event(call: Call, step: Step) -> None:
    await _send_first(call, step, 0)
    call.cut("reset")


@named("close_before_event")
async def _close_before_event(call: Call, step: Step) -> None:
    await _send_first(call, step, 0)
    call.cut("close")


@named("empty_stream")
async def _empty_stream(call: Call, step: Step) -> None:
    await _send_first(call, step, 0)
    call.cut("end")


@named("reset_mid_stream")
async def _reset_mid_stream(call: Call, step: Step) -> None:
    await _send_first(call, step, step.after)
    call.cut("reset")


@named("end_without_stop")
async def _end_without_stop(call: Call, step: Step) -> None:
    await _send_first(call, step, -1)
    call.cut("end")


@named("cut_at_byte")
async def _cut_at_byte(call: Call, step: Step) -> None:
    reply = _reply(call, step)
    call.begin(reply, step.headers, close_delimited=step.close_delimited)
    call.write(b"".join(reply.frames)[: step.at_byte])
    await call.flush()
    call.cut(step.how)


@named("error_event_first")
async def _error_event_first(call: Call, step: Step) -> None:
    await _send_error_event(call, step, 0)


@named("error_event_mid")
async def _error_event_mid(call: Call, step: Step) -> None:
    await _send_error_event(call, step, step.after)


async def _send_error_event(call: Call, step: Step, after: int) -> None:
    status = step.status or _STATUSES.get(step.type, 529)
    reply = _reply(call, step)
    if not reply.streamed:
        await _status(call, msgspec.structs.replace(step, status=status))
        return
    await _send_first(call, step, after, reply)
    error = _error(call, step, status)
    call.write(b"data: %b\n\n" % error if is_chat(call.request.path) else render.event("error", error))
    call.cut("end")


@named("stall_before_headers")
async def _stall_before_headers(call: Call, step: Step) -> None:
    await stall(call, step.seconds)
    await _success(call, step)


@named("stall_before_event")
async def _stall_before_event(call: Call, step: Step) -> None:
    left = await _send_first(call, step, 0)
    await stall(call, step.seconds, ping_every_s=step.ping_every_s)
    _finish(call, left)


@named("stall_mid")
async def _stall_mid(call: Call, step: Step) -> None:
    left = await _send_first(call, step, step.after)
    await stall(call, step.seconds, ping_every_s=step.ping_every_s)
    _finish(call, left)


@named("pings_only")
async def _pings_only(call: Call, step: Step) -> None:
    left = await _send_first(call, step, 0)
    await stall(call, step.seconds, ping_every_s=step.ping_every_s or 1.0)
    _finish(call, left)


@named("flood")
async def _flood(call: Call, step: Step) -> None:
    reply = _reply(call, step)
    first = next((number for number, frame in enumerate(reply.frames) if frame.startswith(_DELTA)), None)
    if first is None:
        await _success(call, step)
        return
    left = await _send_first(call, step, first, reply)
    piece = left[0] * _FLOOD_EVENTS
    for _ in range(0, step.at_byte, len(piece)):
        call.write(piece)
        await call.flush()
        await call.pause(0)
    _finish(call, left)


@named("slow_bytes")
async def _slow_bytes(call: Call, step: Step) -> None:
    reply = _reply(call, step)
    call.begin(reply, step.headers, close_delimited=step.close_delimited)
    body = b"".join(reply.frames)
    tick_s = max(_TICK_S, 1 / step.bytes_per_s)
    size = max(1, round(step.bytes_per_s * tick_s))
    for start in range(0, len(body), size):
        call.write(body[start : start + size])
        await call.flush()
        await call.sleep(tick_s)
    call.end()


@named("slow_head")
async def _slow_head(call: Call, step: Step) -> None:
    head = http.response_head(200, call.services.headers.pairs(call.request.key, call.request.request_id))
    for value in head:
        call.send(bytes((value,)))
        await call.flush()
        await call.sleep(1 / step.bytes_per_s)
    call.cut("close")


@named("early_hints")
async def _early_hints(call: Call, step: Step) -> None:
    call.send(http.response_head(103, [("link", "</>; rel=preconnect")]))
    await call.flush()
    following = step.next or Step()
    await BEHAVIOURS[following.do](call, following)


@named("trailers")
async def _trailers(call: Call, step: Step) -> None:
    reply = _reply(call, step)
    call.begin(reply, step.headers)
    for frame in reply.frames:
        call.write(frame)
    call.send(b"0\r\nx-checksum: none\r\n\r\n")
    await call.flush()
    call.cut("close")


@named("one_byte_chunks")
async def _one_byte_chunks(call: Call, step: Step) -> None:
    reply = _reply(call, step)
    call.begin(reply, step.headers, close_delimited=step.close_delimited)
    for frame in reply.frames:
        for value in frame:
            call.write(bytes((value,)))
        await call.flush()
    call.end()


@named("slice")
async def _slice(call: Call, step: Step) -> None:
    reply = _reply(call, step)
    call.begin(reply, step.headers, close_delimited=step.close_delimited)
    body = b"".join(reply.frames)
    start = 0
    sizes = _sizes(step)
    while start < len(body):
        size = next(sizes)
        call.write(body[start : start + size])
        start += size
        await call.flush()
        await call.pause(step.seconds)
    call.end()


def _sizes(step: Step) -> Iterator[int]:
    chance = random.Random(step.seed)  # noqa: S311 - repeatable, not secret
    while True:
        yield from step.sizes or (chance.randint(1, _MOST_RANDOM_BYTES),)


@named("garbage")
async def _garbage(call: Call, step: Step) -> None:
    text = step.body.encode() if step.body is not None else _GARBAGE
    call.send(step.body_bytes if step.body_bytes is not None else text)
    await call.flush()
    call.cut("close")


@named("wrong_content_type")
async def _wrong_content_type(call: Call, step: Step) -> None:
    reply = _reply(call, step)
    call.begin(reply, {"content-type": "text/html; charset=utf-8", **step.headers})
    _finish(call, reply.frames)


@named("redirect")
async def _redirect(call: Call, step: Step) -> None:
    reply = Reply(step.status or 307, JSON, [])
    call.begin(reply, {"location": step.location, **step.headers})
    call.end()


@named("delay")
async def _delay(call: Call, step: Step) -> None:
    await call.sleep(step.seconds)
    following = step.next or Step()
    await BEHAVIOURS[following.do](call, following)


@named("raw")
async def _raw(call: Call, step: Step) -> None:
    body = step.body_bytes if step.body_bytes is not None else (step.body or "").encode()
    headers = {name.lower(): value for name, value in step.headers.items()}
    if "content-length" not in headers and "transfer-encoding" not in headers and not step.close_delimited:
        headers["content-length"] = str(len(body))
        call.declare(len(body))
    call.begin_raw(step.status or 200, headers)
    call.write(body)
    await call.flush()
    call.end()
