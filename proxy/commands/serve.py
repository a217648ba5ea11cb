"""``serve``: read the configuration, refuse what is wrong with it, run the server."""

import asyncio
import datetime
import gc
import os
import random
import resource
import signal
import sys
from collections.abc import Callable, Coroutine, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, TextIO

from proxy.access import Keys, load_or_make_keys
from proxy.clock import SystemClock
from proxy.commands.banner import banner
from proxy.commands.configuration import NO_CREDENTIAL, CannotStart, catalog_of, demand_packages, secrets_of
from proxy.commands.demo import demo_credentials, demo_simulator
from proxy.commands.output import finish_output, say
from proxy.commands.terminal import has_terminal
from proxy.commands.workers import ALONE, Supervisor, Worker
from proxy.credentials import Credential, CredentialSource
from proxy.dispatch.reloading import Reloader, checked, mask
from proxy.log import get_logger
from proxy.model.catalog import Catalog
from proxy.server.app import Parts, build_app
from proxy.server.context import SERVICES
from proxy.server.run import Stopping, reserved, run
from proxy.settings import ConfigurationError, Settings, load_settings
from proxy.settings.shapes import Address
from proxy.store.base import StoreError
from proxy.store.files import ensure_private_dir
from proxy.store.sqlite import SqliteStore
from proxy.telemetry.logs import configure_logging
from proxy.telemetry.redaction import REDACTOR
from proxy.telemetry.requests import HasLine
from proxy.telemetry.workers import Workers

_log = get_logger("serve")
_PRIVATE_UMASK: Final = 0o077
_MOST_DESCRIPTORS: Final = 65_536
_GARBAGE_THRESHOLDS: Final = (10_000, 20, 50)


@dataclass(frozen=True, slots=True)
class Configured:
    """A configuration that was read without a mistake."""

    settings: Settings
    credentials: tuple[Credential, ...]
    source: CredentialSource
    keys: Keys
    catalog: Catalog
    record: Callable[[HasLine], None]
    demo: bool


def serve(flags: Mapping[str, str], *, env_file: Path | None, demo: bool, demo_if_unconfigured: bool) -> int:
    """Run the server until it is told to stop. Returns the exit code.

    `demo` answers from the simulated Claude; `demo_if_unconfigured` does so only when no credential is
    configured and the address is a loopback one.
    """
    os.umask(_PRIVATE_UMASK)
    _allow_many_connections()
    try:
        _require_fast_parser()
        configured = _configure(flags, env_file, demo=demo, demo_if_unconfigured=demo_if_unconfigured)
    except (ConfigurationError, CannotStart, StoreError) as error:
        say(str(error))
        return 1
    try:
        if configured.settings.workers == 1:
            return _run_in_loop(_serve(configured, sys.stdout, ALONE))
        return _supervised(configured)
    except OSError as error:
        say(f"Cannot listen on {configured.settings.address}: {error.strerror}.")
        return 1
    except StoreError as error:
        say(str(error))
        return 1
    finally:
        finish_output()


def _supervised(configured: Configured) -> int:
    """Have as many processes serve as were asked for. Raises OSError when they cannot listen."""
    settings = configured.settings
    listener, address = reserved(settings.address)
    with listener:
        one = replace(configured, settings=replace(settings, address=address))

        def work(worker: Worker) -> int:
            try:
                return _run_in_loop(_serve(one, sys.stdout, worker))
            except StoreError as error:
                say(str(error))
                return 1

        return Supervisor(settings.workers, work, SystemClock()).run()


def _configure(
    flags: Mapping[str, str], env_file: Path | None, *, demo: bool, demo_if_unconfigured: bool
) -> Configured:
    settings = load_settings(flags, os.environ, Path.cwd(), env_file=env_file)
    demand_packages(settings)
    record = configure_logging(settings.log_level, settings.log_format)
    source = CredentialSource(settings, os.environ)
    found = checked(source.load())
    demo = demo or (demo_if_unconfigured and not found.found and settings.address.loopback)
    credentials = demo_credentials() if demo else found.found
    if not credentials:
        raise CannotStart(NO_CREDENTIAL)
    ensure_private_dir(settings.data_dir)
    keys = load_or_make_keys(settings, settings.data_dir)
    REDACTOR.learn(secrets_of(settings))
    REDACTOR.learn(keys.secrets())
    mask((*found.found, *credentials))
    for warning in (*settings.warnings, *found.warnings):
        _log.warning(warning)
    catalog = catalog_of(settings.model_catalog_file)
    if catalog.outdated(_today()):
        _log.warning(
            "what is known of models and their prices is old; MODEL_CATALOG_FILE can bring it up to date",
            as_of=str(catalog.as_of),
        )
    return Configured(settings, credentials, source, keys, catalog, record, demo)


def _today() -> datetime.date:
    return datetime.datetime.fromtimestamp(SystemClock().unix_ms() / 1000, datetime.UTC).date()


async def _serve(configured: Configured, out: TextIO, worker: Worker) -> int:
    stopping = Stopping()
    stopping.listen()
    async with AsyncExitStack() as opened:
        credentials = configured.credentials
        if configured.demo:
            simulator = await demo_simulator()
            opened.push_async_callback(simulator.stop)
            credentials = tuple(replace(item, base_url=simulator.url) for item in credentials)
        settings = configured.settings
        store = await SqliteStore.open(settings.database)
        opened.push_async_callback(store.close)
        clock = SystemClock()
        parts = Parts(
            settings=settings,
            credentials=credentials,
            source=None if configured.demo else configured.source,
            keys=configured.keys,
            catalog=configured.catalog,
            store=store,
            clock=clock,
            rng=random.Random(),  # noqa: S311 - jitter
            record=configured.record,
            demo=configured.demo,
            takes_up_before_unix_ms=worker.takes_up_before_unix_ms,
            workers=None if worker.slots is None else Workers(worker.slots, worker.number, clock),
        )

        def announce(address: Address) -> None:
            if worker.first:
                banner(out, address, configured.keys, credentials, demo=configured.demo)

        app = await build_app(parts)
        _listen_for_hangups(app[SERVICES].reloader, stopping)
        if worker.parent is not None:
            _end_with(worker.parent, stopping)
        _settle_memory()
        return await run(app, settings, stopping, announce, shared=worker.parent is not None)


def _end_with(parent: int, stopping: Stopping) -> None:
    """Drain when the process at the other end of this descriptor is no more."""
    loop = asyncio.get_running_loop()

    def on_end() -> None:
        loop.remove_reader(parent)
        if not stopping.first.is_set():
            stopping.on_signal(signal.SIGTERM)

    loop.add_reader(parent, on_end)


def _listen_for_hangups(reloader: Reloader | None, stopping: Stopping) -> None:
    """Have SIGHUP read the credentials again; a demo has none to read, and goes on.

    The same signal comes when somebody closes the terminal the server runs in; then it ends.
    """
    in_terminal = has_terminal()

    def on_hangup() -> None:
        if in_terminal and not has_terminal():
            # the terminal and the shell in it may both send one, and a second word would cut the drain short
            if not stopping.first.is_set():
                stopping.on_signal(signal.SIGTERM)
        elif reloader is not None:
            reloader.on_hangup()

    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, on_hangup)


def _allow_many_connections() -> None:
    """Take as many descriptors as the system grants for the asking; the usual 1,024 are 500 streams."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _MOST_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _settle_memory() -> None:
    """Leave what the start has made out of every later look for garbage, and look less often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_GARBAGE_THRESHOLDS)


def _run_in_loop(main: Coroutine[Any, Any, int]) -> int:
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(main)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Uvloop where it is installed, else the standard loop."""
    try:
        import uvloop  # noqa: PLC0415 - optional
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


def _require_fast_parser() -> None:
    """Refuse to run on aiohttp's pure-Python parser, which has let smuggled requests through."""
    from aiohttp.http_parser import HttpRequestParser, HttpRequestParserPy  # noqa: PLC0415 - only looked at here

    if HttpRequestParser is HttpRequestParserPy:
        raise CannotStart(
            "aiohttp runs without its C extensions here. Install it with them, or unset AIOHTTP_NO_EXTENSIONS."
        )
