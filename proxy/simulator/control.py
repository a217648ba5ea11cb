"""The paths by which other processes steer a simulator: ``/__script``, ``/__record``, ``/__site`` and ``/__reset``."""

from collections.abc import Sequence
from typing import Protocol
from urllib.parse import parse_qs

import msgspec

from proxy.errors import GatewayError, InvalidRequest
from proxy.simulator.api import JSON, Reply, Request, error_reply
from proxy.simulator.record import Record
from proxy.simulator.script import Step
from proxy.simulator.web import WebSite

_encoder = msgspec.json.Encoder()


class Script(msgspec.Struct, forbid_unknown_fields=True):
    """The body of ``POST /__script``; bytes within steps are base64.

    Attributes:
        key: whose requests it is for; ``*`` is every key without a script.
        steps: in order.
        then: for all requests after them; None is success.
        organization: the organization the key belongs to from now on, if given.
    """

    key: str
    steps: tuple[Step, ...] = ()
    then: Step | None = None
    organization: str | None = None


class Steered(Protocol):
    """What can be steered."""

    record: Record
    site: WebSite

    def script(self, key: str, steps: Sequence[Step], *, then: Step | None = None) -> None:
        """Set a key's behaviour; raises `ValueError` for a behaviour there is not."""
        ...

    def assign(self, key: str, organization: str) -> None:
        """Put a key into an organization."""
        ...

    def reset(self) -> None:
        """Forget scripts, records, organizations and caches."""
        ...


def control(request: Request, server: Steered) -> Reply:
    """Answer a request to one of the paths."""
    try:
        return _control(request, server)
    except GatewayError as error:
        return error_reply(request.request_id, error)


def _control(request: Request, server: Steered) -> Reply:
    match request.method, request.path:
        case "POST", "/__script":
            _take_script(request.body, server)
            return Reply(200, JSON, [b"{}"])
        case "GET", "/__record":
            return Reply(200, JSON, [_record(request.query, server.record)])
        case "GET", "/__site":
            return Reply(200, JSON, [_encoder.encode(server.site.ledger)])
        case "POST", "/__reset":
            server.reset()
            return Reply(200, JSON, [b"{}"])
        case _:
            raise InvalidRequest("There are POST /__script, GET /__record, GET /__site and POST /__reset.")


def _take_script(body: bytes, server: Steered) -> None:
    try:
        script = msgspec.json.decode(body, type=Script)
        server.script(script.key, script.steps, then=script.then)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise InvalidRequest(str(error)) from None
    if script.organization is not None:
        server.assign(script.key, script.organization)


def _record(query: str, record: Record) -> bytes:
    options = parse_qs(query)
    newest = options.get("newest", [""])[-1]
    count = int(newest) if newest.isascii() and newest.isdigit() else None
    return _encoder.encode(record.snapshot(newest=count, bodies=options.get("bodies") != ["0"]))
