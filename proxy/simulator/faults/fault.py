"""What a failure before the first byte of an answer is made of, and the usual kinds of it."""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

import msgspec

from proxy.simulator.faults.told import (
    BROKEN,
    CHALLENGED,
    DENIED,
    INVALID,
    LIMITED,
    OVERLOADED,
    TIMED_OUT,
    UNUSABLE,
    Envelopes,
)
from proxy.simulator.script import Step

CANARY: Final = "c4n4ry"
"""Stands in every key, every organization's name and every text of an upstream that no client may see."""
BOTH_FORMS: Final = (False, True)


class Address(StrEnum):
    """Where a credential's calls go."""

    SHARED = "the simulated Claude's own address"
    OWN = "an address of its own there: all credentials of one suffer together"
    CLOSED = "a port nobody listens on"
    SWALLOWING = "a port that never takes a connection"
    NAMELESS = "a name that does not exist"
    NO_TLS = "a server that was expected to speak TLS and does not"
    SELF_SIGNED = "a server whose certificate nobody vouches for"


def key_of(alias: str) -> str:
    """The API key of a credential; it looks like a real one."""
    return f"sk-ant-api03-{CANARY}-{alias}"


def organization_of(key: str) -> str:
    """The organization a key belongs to: each to one of its own."""
    return f"{CANARY}-org-{key.rpartition('-api03-')[2].removeprefix(f'{CANARY}-')}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One failure, met by every credential a request may use; three are offered.

    Attributes:
        step: what the upstream does; ``{key}`` and ``{org}`` in its texts are those of who asked.
        told: what the client gets.
        calls: upstream calls made for one request.
        state: of each credential that was asked, afterwards.
        strike: whether it is held against them, short of taking them out of use.
        retry_after: the greatest and the least value of the header, None where it has to be missing.
        should_retry: ``x-should-retry``.
        message: what the client's error has to say, where the upstream's words are passed on.
        forms: streamed or not, or both.
        address: where the calls go; only at the simulated Claude `step` is used.
        hurry_s: how fast time is made to pass, seconds a turn; 0 where nothing has to be waited for.
        late: whether it takes so long that a streaming client has its headers before.
    """

    step: Step
    told: Envelopes
    calls: int
    state: str = "ready"
    strike: bool = False
    retry_after: tuple[int, int] | None = None
    should_retry: str | None = None
    message: str = ""
    forms: tuple[bool, ...] = BOTH_FORMS
    address: Address = Address.SHARED
    hurry_s: float = 0.0
    late: bool = False

    @property
    def simulated(self) -> bool:
        """Whether the simulated Claude is asked at all."""
        return self.address in {Address.SHARED, Address.OWN}

    @property
    def rescued(self) -> bool:
        """Whether another credential may make it good."""
        return self.calls > 1 or self.address is Address.OWN


def asked_by(step: Step, key: str, organization: str | None = None) -> Step:
    """`step` as `key` meets it; `organization` is the key's where that is not the one made of it."""
    owner = organization or organization_of(key)

    def named(text: str) -> str:
        return text.replace("{key}", key).replace("{org}", owner)

    return msgspec.structs.replace(
        step,
        message=named(step.message),
        body=None if step.body is None else named(step.body),
        headers={name: named(value) for name, value in step.headers.items()},
    )


def status(number: int, message: str = "", *, code: str | None = None, **headers: str) -> Step:
    """An answer with this status and Anthropic's error envelope; ``_`` in a header's name is ``-``."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Step("status", status=number, message=message, error_code=code, headers=named)


def body(number: int, text: str) -> Step:
    """An answer with this status and no error envelope."""
    return Step("status", status=number, body=text)


PAGE: Final = f"<html><title>Just a moment... {CANARY}</title></html>"


def page(number: int) -> Step:
    """An answer with this status and a page."""
    return body(number, PAGE)


def event(kind: str, message: str = "") -> Step:
    """A stream that begins with an error, or for who wants no stream the same error as an answer."""
    return Step("error_event_first", type=kind, message=message)


def request(step: Step, told: Envelopes = INVALID, message: str = "") -> Fault:
    """The client's own mistake."""
    return Fault(step=step, told=told, calls=1, message=message)


def billing(step: Step) -> Fault:
    """No credit."""
    return Fault(step=step, told=UNUSABLE, calls=3, state="cooling(billing)", should_retry="false")


def broken(step: Step, told: Envelopes = BROKEN, *, calls: int = 2) -> Fault:
    """The upstream fails."""
    return Fault(step=step, told=told, calls=calls, should_retry="false", strike=True)


def unknown(step: Step) -> Fault:
    """An answer nobody has a meaning for."""
    return replace(broken(step, calls=1), strike=False)


def limited(step: Step, longest_s: int, should_retry: str | None = None) -> Fault:
    """A rate limit."""
    return Fault(
        step=step,
        told=LIMITED,
        calls=3,
        state="cooling(rate_limit)",
        retry_after=(longest_s, max(1, longest_s - 30)),
        should_retry=should_retry,
    )


def denied(step: Step) -> Fault:
    """The model is not for this key."""
    return Fault(step=step, told=DENIED, calls=3, state="cooling(permission)")


def overloaded(step: Step) -> Fault:
    """The provider is overloaded."""
    return Fault(step=step, told=OVERLOADED, calls=2, retry_after=(5, 5))


def challenge(step: Step) -> Fault:
    """The network path is challenged."""
    return Fault(
        step=step,
        told=CHALLENGED,
        calls=1,
        state="cooling(blocked)",
        retry_after=(60, 60),
        address=Address.OWN,
    )


def unreachable(address: Address, told: Envelopes = BROKEN, hurry_s: float = 0.0) -> Fault:
    """No connection comes about."""
    return Fault(step=Step(), told=told, calls=2, should_retry="false", address=address, hurry_s=hurry_s)


def silent(step: Step, forms: tuple[bool, ...] = BOTH_FORMS) -> Fault:
    """Nothing comes for so long that a streaming client has had its headers, and no time is left for another try."""
    return replace(broken(step, TIMED_OUT, calls=1), forms=forms, hurry_s=20.0, late=True)
