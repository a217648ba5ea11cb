"""The tables of ``docs/reliability.md``, made from the tables the tests go through.

``python -m tests.support.faults.page`` writes them into the page; a test says when that was forgotten.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

from proxy.simulator.faults.after import CUTS, Cut
from proxy.simulator.faults.before import ANSWERS, CONNECTIONS, SILENCE, STATUSES
from proxy.simulator.faults.fault import Address, Fault
from proxy.simulator.faults.told import NO_MODEL, Envelopes, Told
from tests.soak.page import soak_table
from tests.support.faults.clients import client_table
from tests.support.faults.harmless import HARMLESS
from tests.support.faults.machines import machine_table
from tests.support.faults.promises import promise_table
from tests.support.house import Spoken

PAGE: Final = Path(__file__).parents[3] / "docs" / "reliability.md"
_OFFERED: Final = 3
_HEAD: Final = "| Upstream | Messages clients | Chat clients | Tried again | The credential asked |\n"
_COLUMNS: Final = f"{_HEAD}|---|---|---|---|---|\n"


def tables() -> str:
    """All tables, each under its heading."""
    before = (
        ("The way to the upstream", CONNECTIONS),
        ("Waiting in vain", SILENCE),
        ("Errors as answers", STATUSES),
        ("Answers that cannot be used", ANSWERS),
    )
    parts = [f"### {title}\n\n{_COLUMNS}{''.join(_before(faults))}" for title, faults in before]
    parts.append(f"### After the first event of a stream\n\n{_COLUMNS}{''.join(_after())}")
    parts.append("### No failure at all\n\n" + "".join(f"- {name}\n" for name in HARMLESS))
    return "\n".join(parts)


MADE: Final[Mapping[str, Callable[[], str]]] = {
    "what clients do": client_table,
    "what upstreams do": tables,
    "what the pool is held to": promise_table,
    "what befalls machines": machine_table,
    "the soak": soak_table,
}
"""Parts of the page, by the names in their marks."""


def renewed(page: str) -> str:
    """The page with its tables made anew. Raises ValueError where a mark is missing."""
    for name, make in MADE.items():
        begin, end = (
            f"<!-- {name}, made by tests/support/faults/page.py: {edge} -->\n" for edge in ("begin", "end")
        )
        before, after = page.index(begin) + len(begin), page.index(end)
        page = f"{page[:before]}\n{make()}\n{page[after:]}"
    return page


def _before(faults: Mapping[str, Fault]) -> Iterator[str]:
    for name, fault in faults.items():
        hints = "" if fault.late else _hints(fault)
        told = [_told(fault.told, spoken) + hints for spoken in Spoken]
        yield _row(name, told, _tried(fault), _credential(fault.state, strike=fault.strike))


def _after() -> Iterator[str]:
    for name, cut in CUTS.items():
        told = [_in_frame(cut, spoken) for spoken in Spoken]
        yield _row(name, told, "never", _credential(cut.state, strike=cut.strike))


def _row(name: str, told: list[str], tried: str, credential: str) -> str:
    messages, chat = told[list(Spoken).index(Spoken.MESSAGES)], told[list(Spoken).index(Spoken.CHAT)]
    return f"| {name} | {messages} | {chat} | {tried} | {credential} |\n"


def _told(envelopes: Envelopes, spoken: Spoken) -> str:
    told = envelopes[spoken]
    return f"{told.status} {_words(told)}"


def _in_frame(cut: Cut, spoken: Spoken) -> str:
    return "passed on unread" if spoken in cut.unseen_by else _words(cut.told[spoken])


def _words(told: Told) -> str:
    return f"`{told.type}`" + (f" / `{told.code}`" if told.code else "")


def _hints(fault: Fault) -> str:
    after = "" if fault.retry_after is None else f", `retry-after: {fault.retry_after[0]}`"
    return after + ("" if fault.should_retry is None else f", `x-should-retry: {fault.should_retry}`")


def _tried(fault: Fault) -> str:
    if not fault.simulated:
        return "once, at another address if there is one"
    if fault.address is Address.OWN:
        return "once, by another way out"
    if fault.calls == _OFFERED:
        shared = fault.state in {"cooling(rate_limit)", "cooling(billing)"}
        return "every credential of another organization" if shared else "every other credential"
    if fault.calls == 1:
        return "no"
    return "once, another organization" if fault.told is NO_MODEL else "once"


def _credential(state: str, *, strike: bool) -> str:
    if strike:
        return "a strike"
    return "nothing" if state == "ready" else f"`{state}`"


if __name__ == "__main__":
    PAGE.write_text(renewed(PAGE.read_text()))
