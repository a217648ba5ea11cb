"""How claude.ai refuses, by name; they join the behaviours every upstream has.

Shapes as public clients of the site report them.
"""

import msgspec

from proxy.errors import ErrorKind
from proxy.simulator.api import Reply
from proxy.simulator.behaviours import BEHAVIOURS, named
from proxy.simulator.call import Call
from proxy.simulator.render import error_body
from proxy.simulator.script import Step
from proxy.simulator.web import Refusal, gone

__all__ = ["BEHAVIOURS"]

_encoder = msgspec.json.Encoder()
_PAGE = b"<!DOCTYPE html><html><head><title>Just a moment...</title></head><body>challenge</body></html>"


def _answer(call: Call, step: Step, reply: Reply) -> None:
    call.begin(reply, step.headers)
    for frame in reply.frames:
        call.write(frame)
    call.end()


def _refuse(call: Call, step: Step, refusal: Refusal) -> None:
    _answer(call, step, refusal.reply(call.request.request_id))


@named("dead_cookie")
async def _dead_cookie(call: Call, step: Step) -> None:
    _refuse(call, step, Refusal(401, ErrorKind.AUTHENTICATION, "Invalid authorization"))


@named("session_invalid")
async def _session_invalid(call: Call, step: Step) -> None:
    refusal = Refusal(403, ErrorKind.PERMISSION, "Invalid authorization", "account_session_invalid")
    _refuse(call, step, refusal)


@named("organization_disabled")
async def _organization_disabled(call: Call, step: Step) -> None:
    refusal = Refusal(400, ErrorKind.INVALID_REQUEST, "This organization has been disabled.")
    _refuse(call, step, refusal)


@named("conversation_gone")
async def _conversation_gone(call: Call, step: Step) -> None:
    _refuse(call, step, gone())


@named("web_limit")
async def _web_limit(call: Call, step: Step) -> None:
    """A rate limit: its end inside the JSON that is its message, in a header, in both, or nowhere."""
    resets_at_s = int(call.services.clock.unix_ms() // 1000 + step.resets_in_s)
    told: dict[str, object] = {"type": "exceeded_limit", "remaining": None, "overagesEnabled": False}
    message = "Exceeded limit"
    if step.stated in {"message", "both"}:
        message = _encoder.encode({**told, "resetsAt": resets_at_s}).decode()
    headers = dict(step.headers)
    if step.stated in {"header", "both"}:
        headers["anthropic-ratelimit-unified-reset"] = str(resets_at_s)
    body = error_body(ErrorKind.RATE_LIMIT, message, request_id=call.request.request_id)
    _answer(call, msgspec.structs.replace(step, headers=headers), Reply(429, "application/json", [body]))


@named("challenge")
async def _challenge(call: Call, step: Step) -> None:
    """The page the network in front shows to what it takes for a robot."""
    headers = {"cf-mitigated": "challenge", **step.headers}
    reply = Reply(step.status or 403, "text/html; charset=utf-8", [_PAGE])
    _answer(call, msgspec.structs.replace(step, headers=headers), reply)


@named("answer_lost")
async def _answer_lost(call: Call, step: Step) -> None:
    """What was asked for is done, and then the answer is an error, or none where no status is given."""
    call.reply(step)
    if step.status:
        await BEHAVIOURS["status"](call, step)
    else:
        call.cut("reset")
