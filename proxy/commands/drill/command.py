"""``drill``: what clients would see of every fault of an upstream, with the present configuration."""

import asyncio
import datetime as dt
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from proxy.clock import SystemClock
from proxy.commands.configuration import NO_CREDENTIAL, CannotStart, catalog_of, secrets_of
from proxy.commands.console import Cell, steps, table
from proxy.commands.drill.campaign import CannotDrill, Case, Drill, Result, cases
from proxy.commands.drill.houses import Yard
from proxy.commands.drill.hurrying import HurryingClock, HurryingLoop
from proxy.commands.drill.report import HEADS, columns, page
from proxy.commands.drill.stand_ins import StandIns
from proxy.commands.output import say
from proxy.credentials import CredentialSource
from proxy.dispatch.reloading import mask
from proxy.model.catalog import Catalog
from proxy.settings import ConfigurationError, Settings, load_settings
from proxy.simulator.faults.elsewhere import elsewhere_made
from proxy.store.base import StoreError
from proxy.store.files import write_private
from proxy.telemetry.logs import configure_logging
from proxy.telemetry.redaction import REDACTOR

_PRIVATE_UMASK: Final = 0o077
_STYLES: Final = {"whole": "green", "told": "yellow", "wrong": "bold red"}


def drill(flags: Mapping[str, str], *, env_file: Path | None, only: str, report: Path | None) -> int:
    """Hold a drill. Returns the exit code: 0 where every client saw what it should, else 1.

    Args:
        flags: by setting name.
        env_file: in place of ``.env``.
        only: a text the names of the faults have to hold; empty for all.
        report: where the page goes; None for none.
    """
    os.umask(_PRIVATE_UMASK)
    try:
        settings = load_settings(flags, os.environ, Path.cwd(), env_file=env_file)
        catalog = catalog_of(settings.model_catalog_file)
        found = CredentialSource(settings, os.environ).load().found
        REDACTOR.learn(secrets_of(settings))
        mask(found)
        stand_ins, wanted = _chosen(StandIns.of(found), cases(only))
        results = _held(settings, catalog, stand_ins, wanted)
    except (ConfigurationError, CannotStart, CannotDrill, StoreError, OSError, RuntimeError) as error:
        say(str(error))
        return 1
    _show(results)
    if report is not None:
        today = dt.datetime.fromtimestamp(SystemClock().unix_ms() / 1000, dt.UTC).date()
        try:
            write_private(report.absolute(), page(results, stand_ins, str(today)).encode())
        except (StoreError, OSError) as error:
            say(f"The report could not be written: {error}")
            return 1
        say(f"The report is in {report}.")
    return _verdict(results, stand_ins)


def _chosen(stand_ins: StandIns, wanted: tuple[Case, ...]) -> tuple[StandIns, tuple[Case, ...]]:
    if not wanted:
        raise CannotDrill("No fault of the table has that in its name.")
    if not stand_ins.credentials:
        if stand_ins.left_out:
            raise CannotDrill(f"Nothing to drill with: {', '.join(stand_ins.left_out)} have no stand-in.")
        raise CannotDrill(NO_CREDENTIAL)
    return stand_ins, wanted


def _held(settings: Settings, catalog: Catalog, stand_ins: StandIns, wanted: Sequence[Case]) -> list[Result]:
    """The drill, in a folder that is gone afterwards."""
    configure_logging("critical", "text")
    with (
        TemporaryDirectory(prefix="carousel-drill-") as folder,
        steps(len(wanted), "drilling") as shown,
        asyncio.Runner(loop_factory=HurryingLoop) as runner,
    ):
        run = partial(_campaign, settings, catalog, stand_ins, Path(folder))
        return runner.run(run(wanted, shown.done))


async def _campaign(
    settings: Settings,
    catalog: Catalog,
    stand_ins: StandIns,
    folder: Path,
    wanted: Sequence[Case],
    done: Callable[[str], None],
) -> list[Result]:
    loop = asyncio.get_running_loop()
    if not isinstance(loop, HurryingLoop):
        raise CannotDrill("A drill needs its own loop.")
    async with elsewhere_made(folder) as elsewhere:
        yard = Yard(settings, stand_ins, catalog, elsewhere, folder, HurryingClock(loop))
        return await Drill(yard).run(wanted, done)


def _show(results: Sequence[Result]) -> None:
    rows = [
        [Cell(result.case.name, "bold"), *(_cell(said) for said in columns(result))] for result in results
    ]
    table(sys.stdout, HEADS, rows)


def _cell(said: Sequence[tuple[str, str]]) -> Cell:
    if not said:
        return Cell("-")
    worst = "wrong" if any(sort == "wrong" for _, sort in said) else said[0][1]
    return Cell("; ".join(text for text, _ in said), _STYLES[worst])


def _verdict(results: Sequence[Result], stand_ins: StandIns) -> int:
    if stand_ins.left_out:
        say(f"Left out, switched off or without a stand-in: {', '.join(stand_ins.left_out)}.")
    wrong = sum(result.faults for result in results)
    if wrong:
        say(f"{len(results)} faults: {wrong} clients saw what they should not.")
        return 1
    say(f"{len(results)} faults: every client saw a whole answer or a proper error.")
    return 0
