"""Calls and credentials for the tests of upstreams."""

from proxy.credentials import Credential, Kind
from proxy.exchange import Operation
from proxy.secrets import Secret
from proxy.upstreams.base import UpstreamCall
from tests.unit.dispatch.building import changed

PROXY = "http://proxy.test:3128"
"""The way through an HTTP proxy is the library's own from end to end, which is where a table can stand in for it."""

BODY = b'{"model":"claude-sonnet-5-5","max_tokens":8,"messages":[{"role":"user","content":"Hello"}]}'


def call(body: bytes = BODY, **changes: object) -> UpstreamCall:
    """A small call; `changes` are fields of `UpstreamCall`."""
    plain = UpstreamCall(operation=Operation.MESSAGES, body=body, stream=False, version="2023-06-01")
    return changed(plain, changes)


def credential(
    base_url: str, *, name: str = "api-1", key: str = "canary-key-1", proxy: str | None = None
) -> Credential:
    """An API key."""
    way_out = None if proxy is None else Secret(proxy)
    return Credential(name=name, kind=Kind.ANTHROPIC, secret=Secret(key), base_url=base_url, way_out=way_out)
