"""What counting costs: a client key that everything limits, with limits no load of ours reaches."""

from dataclasses import replace
from typing import Final

import aiohttp
import msgspec

from tests.bench.measure import body
from tests.bench.programs import ADMIN_KEY, Program, Running
from tests.bench.rounds import FAST_PORT, Make, Report, compare, rounds, started

_NAME: Final = "limited"
_MOST: Final = 1_000_000_000
_LIMITS: Final = {
    "requests_per_minute": 10_000_000,
    "tokens_per_minute": _MOST,
    "concurrency": 1_000_000,
    "budget_usd": 1e9,
}


class _Made(msgspec.Struct):
    key: str


async def limited(found: Running) -> Running:
    """The same program, asked with such a key. Raises RuntimeError where it makes none."""
    url = f"http://127.0.0.1:{found.program.port}/admin/keys"
    body = msgspec.json.encode({"name": _NAME, **_LIMITS})
    async with (
        aiohttp.ClientSession() as session,
        session.post(url, data=body, headers={"authorization": f"Bearer {ADMIN_KEY}"}) as answer,
    ):
        if answer.status != 201:
            raise RuntimeError(f"no key was made: status {answer.status}")
        key = msgspec.json.decode(await answer.read(), type=_Made).key
    program: Program = replace(
        found.program,
        name=f"{found.program.name}_limited",
        headers={**found.program.headers, "Authorization": f"Bearer {key}"},
    )
    return Running(program, found.pid, found.started_in_s)


async def limits(report: Report, chosen: dict[str, Make]) -> None:
    """The gateway asked with a key that has every limit there is, beside the same asked with one that has none."""
    if "carousel" not in chosen:
        return
    async with started(chosen["carousel"], FAST_PORT) as free:
        if free is None:
            return
        held = await limited(free)
        rates = await rounds(report, [free, held], "unary_limits", body(), "requests/s")
        compare(report, "unary_limits_{dialect}_of_unlimited", rates, held, free)
