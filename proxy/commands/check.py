"""``check``: read the configuration, name every mistake, and ask each credential whether it works.

It changes nothing: no file is made, and what it asks costs nothing.
"""

import asyncio
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final, NamedTuple

from proxy.clock import Clock, SystemClock
from proxy.commands.configuration import NO_CREDENTIAL, CannotStart, catalog_of, demand_packages, secrets_of
from proxy.commands.console import Cell, steps, table
from proxy.commands.output import say
from proxy.credentials import Credential, Credentials, CredentialSource, Kind
from proxy.dispatch.reloading import mask
from proxy.pool import FailureClass, classify
from proxy.secrets import Secret
from proxy.settings import ConfigurationError, Policy, Settings, load_settings
from proxy.telemetry.redaction import REDACTOR
from proxy.upstreams.base import UpstreamFault, UpstreamRefused
from proxy.upstreams.claude_code.program import Unusable
from proxy.upstreams.http import WaysOut
from proxy.upstreams.probe import Probe, Probed

_PRIVATE_UMASK: Final = 0o077
_LIMIT_S: Final = 20.0
_AT_ONCE: Final = 16
_SHOWN_OF_ORGANIZATION: Final = 8
_HEADS: Final = ("Credential", "Kind", "Organization", "Models", "State", "Latency")
_REFUSALS: Final[Mapping[FailureClass, str]] = {
    FailureClass.AUTH: "the key is refused",
    FailureClass.AUTH_DEAD: "the account or key is closed",
    FailureClass.PERMISSION: "not permitted",
    FailureClass.NO_MODEL: "there is no such address",
    FailureClass.RATE: "at a rate limit",
    FailureClass.BILLING: "no credit left",
    FailureClass.OVERLOADED: "the provider is overloaded",
    FailureClass.SERVER: "the provider fails",
    FailureClass.CHALLENGE: "asked for a browser",
}


class Checked(NamedTuple):
    """What became of one credential.

    Attributes:
        credential: which.
        state: in words.
        works: whether it can answer.
        probed: what it told.
        took_ms: for its answer, or None where it was not asked.
        challenged: whether its way out met a challenge.
    """

    credential: Credential
    state: str
    works: bool = False
    probed: Probed = Probed()
    took_ms: int | None = None
    challenged: bool = False


def check(flags: Mapping[str, str], *, env_file: Path | None) -> int:
    """Check the configuration. Returns the exit code: 0 where a credential works, else 1."""
    os.umask(_PRIVATE_UMASK)
    try:
        settings, found = _read(flags, env_file)
    except (ConfigurationError, CannotStart) as error:
        say(str(error))
        return 1
    REDACTOR.learn(secrets_of(settings))
    mask(found.found)
    for warning in (*settings.warnings, *found.warnings):
        say(warning)
    if not found.found:
        say(NO_CREDENTIAL)
        return 1
    with steps(len(found.found), "asking the credentials") as shown:
        checked = asyncio.run(check_all(found.found, settings.policy, SystemClock(), shown.done))
    table(sys.stdout, _HEADS, [_row(each) for each in checked])
    works = sum(each.works for each in checked)
    say(f"{works} of {len(checked)} credentials can answer.")
    return 0 if works else 1


def _read(flags: Mapping[str, str], env_file: Path | None) -> tuple[Settings, Credentials]:
    """Settings and credentials; raises ConfigurationError and CannotStart with every mistake of both."""
    settings = load_settings(flags, os.environ, Path.cwd(), env_file=env_file)
    mistakes: list[str] = []
    found = Credentials(())
    try:
        found = CredentialSource(settings, os.environ).load()
    except ConfigurationError as error:
        mistakes.append(str(error))
    try:
        catalog_of(settings.model_catalog_file)
        demand_packages(settings)
    except CannotStart as error:
        mistakes.append(str(error))
    if mistakes:
        raise CannotStart("\n".join(mistakes))
    return settings, found


async def check_all(
    credentials: Sequence[Credential], policy: Policy, clock: Clock, done: Callable[[str], None]
) -> list[Checked]:
    """Ask all of them, in the order given; `done` is told each alias.

    claude.ai sessions are asked one after the other, and none by a way out that has met a challenge.
    """
    ways_out = WaysOut(policy)
    probe = Probe(ways_out, _LIMIT_S)
    places = asyncio.Semaphore(_AT_ONCE)
    in_turn = asyncio.Lock()
    stopped: set[Secret | None] = set()

    async def one(credential: Credential) -> Checked:
        session = credential.kind is Kind.CLAUDE_WEB
        async with in_turn if session else places:
            if session and credential.way_out in stopped:
                found = Checked(credential, "not asked: another session was asked for a browser")
            else:
                found = await _checked(credential, probe, clock)
        if found.challenged:
            stopped.add(credential.way_out)
        done(credential.name)
        return found

    try:
        return list(await asyncio.gather(*map(one, credentials)))
    finally:
        await ways_out.close()


async def _checked(credential: Credential, probe: Probe, clock: Clock) -> Checked:
    if not credential.enabled:
        return Checked(credential, "switched off")
    began_s = clock.monotonic_s()
    probed, challenged = Probed(), False
    try:
        probed = await probe.ask(credential)
        state = "works" if probed.program is None else f"program {probed.program} is there"
        works = True
    except UpstreamRefused as refused:
        failure = classify(refused.error, now_unix_ms=clock.unix_ms())
        state = f"{_REFUSALS.get(failure.cls, 'answered')} ({refused.error.status})"
        works, challenged = False, failure.cls is FailureClass.CHALLENGE
    except UpstreamFault as fault:
        state, works = f"no proper answer: {fault.fault.replace('_', ' ')}", False
    except (Unusable, OSError) as problem:
        state, works = f"cannot be used: {problem}", False
    took_ms = round((clock.monotonic_s() - began_s) * 1000)
    return Checked(credential, state, works, probed, took_ms, challenged)


def _row(checked: Checked) -> list[Cell]:
    credential, probed = checked.credential, checked.probed
    organization = probed.organization or credential.organization or "-"
    return [
        Cell(credential.name, "bold"),
        Cell(credential.kind),
        Cell(organization[:_SHOWN_OF_ORGANIZATION]),
        Cell(_models(credential, probed)),
        Cell(checked.state, "green" if checked.works else "red"),
        Cell("-" if checked.took_ms is None else f"{checked.took_ms} ms"),
    ]


def _models(credential: Credential, probed: Probed) -> str:
    """How many models it may be used for, or the patterns of those."""
    if probed.models is None:
        return ", ".join(credential.models) or "-"
    if not credential.models:
        return str(len(probed.models))
    fitting = [
        model for model in probed.models if any(fnmatchcase(model, pattern) for pattern in credential.models)
    ]
    return f"{len(fitting)} of {len(probed.models)}"
