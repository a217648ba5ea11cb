"""Sending an answer over time: at a model's pace, or with silence in between."""

import asyncio

from proxy.simulator.api import Reply
from proxy.simulator.call import Call
from proxy.simulator.chat import PING as CHAT_PING
from proxy.simulator.chat import is_chat
from proxy.simulator.render import PING, text_delta
from proxy.simulator.script import Pace, Step

_DELTA = b"event: content_block_delta"
_DELTAS = (_DELTA, b"data: {")
_FLUSH_EVERY_BYTES = 256 * 1024


async def send_paced(call: Call, reply: Reply, pace: Pace, step: Step) -> None:
    """Send a whole reply: the first byte after the pace's delay, then its text deltas at the pace's speed.

    A reply that is no stream comes whole, once a stream would have ended. Errors wait for nothing.
    """
    if reply.status == 200:
        await call.sleep(pace.first_token_delay_s)
        if not reply.streamed and pace.tokens_per_s is not None:
            await call.sleep(reply.tokens / pace.tokens_per_s)
    call.begin(reply, step.headers, close_delimited=step.close_delimited)
    if reply.streamed and pace.tokens_per_s is not None:
        await _send_timed(call, reply.frames, pace, 1 / pace.tokens_per_s)
    else:
        await _send_fast(call, reply.frames)
    call.end()


async def _send_fast(call: Call, frames: list[bytes]) -> None:
    waiting: list[bytes] = []
    waiting_bytes = 0
    for frame in frames:
        waiting.append(frame)
        waiting_bytes += len(frame)
        if waiting_bytes >= _FLUSH_EVERY_BYTES:
            call.write(b"".join(waiting))
            waiting, waiting_bytes = [], 0
            await call.flush()
    call.write(b"".join(waiting))


async def _send_timed(call: Call, frames: list[bytes], pace: Pace, interval_s: float) -> None:
    """Send each text delta when it is due, counted from the first byte so that lateness does not add up."""
    loop = asyncio.get_running_loop()
    interval_s *= call.services.time_scale
    began_s = loop.time()
    due: list[bytes] = []
    deltas = 0
    for frame in frames:
        if frame.startswith(_DELTAS):
            if pace.pause_after is not None and deltas and deltas % pace.pause_after == 0:
                paused_s = loop.time()
                call.write(b"".join(due))
                due = []
                await stall(call, pace.pause_s, ping_every_s=pace.ping_every_s)
                began_s += loop.time() - paused_s
            deltas += 1
            wait_s = began_s + deltas * interval_s - loop.time()
            if wait_s > 0:
                call.write(b"".join(due))
                due = []
                await call.flush()
                await asyncio.sleep(began_s + deltas * interval_s - loop.time())
            if pace.stamped and frame.startswith(_DELTA):
                frame = _stamped(call, deltas)  # noqa: PLW2901 - replaced
        due.append(frame)
    call.write(b"".join(due))


def _stamped(call: Call, number: int) -> bytes:
    return text_delta(0, f"n={number} t={call.services.clock.monotonic_s():.6f} ")


async def stall(call: Call, seconds: float, *, ping_every_s: float = 0.0) -> None:
    """Say nothing, or only pings, for so long; 0 is until the client has gone or the server stops."""
    if ping_every_s <= 0:
        if seconds <= 0:
            await asyncio.get_running_loop().create_future()
        await call.sleep(seconds)
        return
    left_s = seconds if seconds > 0 else float("inf")
    while left_s > 0:
        call.write(CHAT_PING if is_chat(call.request.path) else PING)
        await call.flush()
        await call.sleep(min(left_s, ping_every_s))
        left_s -= ping_every_s
