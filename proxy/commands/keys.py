"""``keys``: make, list and revoke the keys of clients, beside a running server or without one."""

import argparse
import asyncio
import datetime as dt
import os
import re
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final

import msgspec

from proxy.access import ClientKeys, NameTaken, StoredKeys
from proxy.access.desk import COMMAND_LINE, Audit
from proxy.access.keys import random_key
from proxy.access.stored import KeyView
from proxy.clock import Clock, SystemClock
from proxy.commands.output import say
from proxy.credentials import CredentialSource
from proxy.server.clients import NewKey
from proxy.settings import ConfigurationError, LimitSettings, Settings, load_settings
from proxy.store.base import StoreError
from proxy.store.files import ensure_private_dir
from proxy.store.sqlite import SqliteStore

_PRIVATE_UMASK: Final = 0o077
_GENERATED_MAX: Final = 1000
_AGE: Final = re.compile(r"([1-9][0-9]{0,4})([mhdw])")
_UNITS: Final = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


class Refused(Exception):
    """What was asked for cannot be done; the text says why."""


class _Book:
    """The keys of one folder, and the book of orders."""

    def __init__(self, limits: LimitSettings, store: SqliteStore, clock: Clock) -> None:
        self.stored = StoredKeys(store.access, ClientKeys((), require_auth=True), clock, limits)
        self.audit = Audit(store.access, clock)


def add_keys_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add ``keys`` and what it can do to the command line."""
    parser = commands.add_parser("keys", help="make, list and revoke the keys of clients")
    parser.add_argument(
        "--env-file", metavar="FILE", type=Path, help="read settings from FILE instead of .env"
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    new = actions.add_parser("new", help="make a key; it is shown this once, alone on standard output")
    new.add_argument("name", metavar="NAME", help="of the client; never used again")
    new.add_argument("--rpm", metavar="N", help="requests a minute")
    new.add_argument("--tpm", metavar="N", help="tokens a minute")
    new.add_argument("--budget", metavar="USD", help="what its requests may cost in a period")
    new.add_argument("--period", help="of the budget: hour, day, week, month (the default) or total")
    new.add_argument("--models", metavar="A,B", help="patterns of the models it may ask for")
    new.add_argument("--credentials", metavar="A,B", help="aliases of the credentials that may answer it")
    new.add_argument("--concurrency", metavar="N", help="requests at the same time")
    new.add_argument("--expires", metavar="WHEN", help="30d, 12h, 2027-01-31, or a time with its zone")
    actions.add_parser("list", help="show all keys by name, without the keys themselves")
    revoke = actions.add_parser("revoke", help="end a key; a running server refuses it within 1.5 seconds")
    revoke.add_argument("name", metavar="NAME")
    generate = actions.add_parser("generate", help="print random keys for API_KEYS; nothing is kept")
    generate.add_argument("-n", dest="count", metavar="N", type=int, default=1, help="how many")
    generate.add_argument("--env", action="store_true", help="as one line for .env")


def keys(options: argparse.Namespace) -> int:
    """Do what the command line asks for. Returns the exit code: 0, or 1 where it could not be done."""
    os.umask(_PRIVATE_UMASK)
    try:
        if options.action == "generate":
            _generate(options.count, env=options.env)
        else:
            settings = load_settings({}, os.environ, Path.cwd(), env_file=options.env_file)
            if options.action == "new":
                options.wanted = _wanted(options, SystemClock().unix_ms())
                _demand_aliases(options.wanted, settings)
            asyncio.run(_with_book(settings, _ACTIONS[options.action], options))
    except (ConfigurationError, StoreError, Refused, NameTaken) as error:
        say(str(error))
        return 1
    return 0


async def _with_book(
    settings: Settings,
    action: Callable[["_Book", argparse.Namespace], Awaitable[None]],
    options: argparse.Namespace,
) -> None:
    await asyncio.to_thread(ensure_private_dir, settings.data_dir)
    store = await SqliteStore.open(settings.database)
    try:
        await action(_Book(settings.limits, store, SystemClock()), options)
    finally:
        await store.close()


async def _new(book: _Book, options: argparse.Namespace) -> None:
    wanted: NewKey = options.wanted
    made = random_key()
    await book.audit.note("keys.new", wanted.name, actor=COMMAND_LINE)
    await book.stored.add(wanted.name, wanted.rules(), made)
    say(f"Client key {wanted.name}, shown this once; only its digest is kept:")
    print(made.reveal())  # noqa: T201 - this is what was asked for


async def _list(book: _Book, _: argparse.Namespace) -> None:
    views = await book.stored.views()
    if not views:
        say("No client key was made yet. Those of the configuration are not listed here.")
    for view in views:
        print("\t".join((view.name, view.state, *_limits(view))))  # noqa: T201 - this is what was asked for


async def _revoke(book: _Book, options: argparse.Namespace) -> None:
    await book.audit.note("keys.revoke", options.name[:64], actor=COMMAND_LINE)
    if not await book.stored.revoke(options.name):
        raise Refused("No client key of this name was made here that is still good.")
    say(f"{options.name} is revoked.")


_ACTIONS: Final[Mapping[str, Callable[[_Book, argparse.Namespace], Awaitable[None]]]] = {
    "new": _new,
    "list": _list,
    "revoke": _revoke,
}


def _generate(count: int, *, env: bool) -> None:
    if not 1 <= count <= _GENERATED_MAX:
        raise Refused(f"-n must be from 1 to {_GENERATED_MAX}.")
    made = [random_key().reveal() for _ in range(count)]
    print(f"API_KEYS={','.join(made)}" if env else "\n".join(made))  # noqa: T201 - this is what was asked for


def _wanted(options: argparse.Namespace, now_unix_ms: int) -> NewKey:
    """What the options ask for. Raises Refused naming the option."""
    found = {
        "name": options.name,
        "requests_per_minute": options.rpm,
        "tokens_per_minute": options.tpm,
        "budget_usd": options.budget,
        "period": options.period,
        "models": _words(options.models),
        "credentials": _words(options.credentials),
        "concurrency": options.concurrency,
        "expires_at": _moment(options.expires, now_unix_ms),
    }
    given = {field: value for field, value in found.items() if value is not None}
    try:
        wanted = msgspec.convert(given, NewKey, strict=False)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `$.")
        option = _OPTIONS.get(where.rstrip("`").partition("[")[0], "NAME")
        raise Refused(f"{option}: {what}.") from None
    if wanted.rules().expired(now_unix_ms):
        raise Refused("--expires: lies in the past.")
    return wanted


_OPTIONS: Final = {
    "requests_per_minute": "--rpm",
    "tokens_per_minute": "--tpm",
    "budget_usd": "--budget",
    "period": "--period",
    "models": "--models",
    "credentials": "--credentials",
    "concurrency": "--concurrency",
}


def _demand_aliases(wanted: NewKey, settings: Settings) -> None:
    if wanted.credentials:
        known = {item.name for item in CredentialSource(settings, os.environ).load().found}
        if unknown := sorted(set(wanted.credentials) - known):
            raise Refused(f"--credentials: no credential is called {', '.join(unknown)}.")


def _words(text: str | None) -> list[str] | None:
    return None if text is None else [word.strip() for word in text.split(",")]


def _moment(text: str | None, now_unix_ms: int) -> dt.datetime | None:
    """A time that was given as an age, a day (its beginning in UTC), or a time with its zone. Raises Refused."""
    if text is None:
        return None
    if age := _AGE.fullmatch(text):
        ahead = dt.timedelta(**{_UNITS[age[2]]: int(age[1])})
        return dt.datetime.fromtimestamp(now_unix_ms / 1000, dt.UTC) + ahead
    try:
        found = dt.datetime.fromisoformat(text)
    except ValueError:
        raise Refused("--expires: expected 30d, 12h, 2027-01-31, or a time with its zone.") from None
    return found.replace(tzinfo=dt.UTC) if found.tzinfo is None and len(text) == 10 else _zoned(found)


def _zoned(found: dt.datetime) -> dt.datetime:
    if found.tzinfo is None:
        raise Refused("--expires: a time needs its zone, such as 2027-01-31T12:00:00Z.")
    return found


def _limits(view: KeyView) -> list[str]:
    rules = view.rules
    shown = {
        "rpm": rules.requests_per_minute,
        "tpm": rules.tokens_per_minute,
        "concurrency": rules.concurrency,
        "budget": None
        if rules.budget_micro_usd is None
        else f"{rules.budget_micro_usd / 1e6:.2f} USD/{rules.period}",
        "models": ",".join(rules.models) or None,
        "credentials": ",".join(sorted(rules.credentials)) or None,
        "expires": None if rules.expires_unix_ms is None else _day(rules.expires_unix_ms),
    }
    return [f"{name}={value}" for name, value in shown.items() if value is not None]


def _day(unix_ms: int) -> str:
    return f"{dt.datetime.fromtimestamp(unix_ms / 1000, dt.UTC):%Y-%m-%dT%H:%M:%SZ}"
