"""The arithmetic of the page about scaling, and that the page is made of the figures that are kept."""

from collections.abc import Mapping

import pytest

from tests.bench.measure import PATHS
from tests.bench.replicas import work_of
from tests.bench.scaling import (
    KEPT,
    LOADS,
    PAGE,
    Line,
    figures_of,
    need,
    open_streams,
    renewed,
    tables,
    wanted,
)


def _figures(busy_us: float = 300.0, redis_us: float = 150.0) -> Mapping[tuple[str, str], Line]:
    """Round figures, of a machine that does not exist."""
    lines = [Line("rss_idle", "carousel", 64.0), Line("redis_idle", "carousel", 8.0)]
    for dialect in PATHS:
        lines.append(Line(f"paced_1000x10_{dialect}", "carousel", 0.25, kib_per_stream=32.0))
        for program in ("carousel", "carousel_limited"):
            lines.append(Line(f"unary_limits_{dialect}", program, 5000.0))
            lines.append(Line(f"redis_commands_{dialect}", program, 20.0, redis_us=redis_us))
            lines += [Line(f"replicas_{n}_{dialect}", program, 1000.0, busy_us=busy_us) for n in (1, 2)]
    return {(line.figure, line.program): line for line in lines}


@pytest.mark.parametrize(
    ("requests_a_minute", "cores", "processes", "commands_a_s", "redis_cores"),
    [
        # 6 a second: 1.8 ms of a core, which is 60 % busy at most
        (360, 0.003, 2, 6 * 20 + 16, 0.0009),
        # 2,000 a second: 0.6 s of a core, one of them is full
        (120_000, 1.0, 2, 2000 * 20 + 16, 0.3),
        (240_060, 2.0005, 3, 4001 * 20 + 24, 0.60015),
        (1_200_000, 10.0, 10, 20_000 * 20 + 80, 3.0),
    ],
)
def test_what_a_load_takes_follows_from_what_a_request_costs(
    requests_a_minute: int, cores: float, processes: int, commands_a_s: float, redis_cores: float
) -> None:
    """Protects whoever buys machines by the page from a slip of the pen."""
    found = need(_figures(), requests_a_minute, "chat", "carousel_limited")
    assert found.cores == pytest.approx(cores)
    assert found.processes == processes
    assert found.redis_commands_a_s == pytest.approx(commands_a_s)
    assert found.redis_cores == pytest.approx(redis_cores)


def test_open_streams_follow_from_how_long_they_last() -> None:
    """Protects the same, for memory: twenty seconds each."""
    assert [open_streams(load) for load in (60, *LOADS)] == [20, 333, 3333, 333_333]
    rows = tables(_figures()).splitlines()
    # a thousand streams of 32 KiB in two processes of 64 MiB, then 3,333 in four
    assert "| 1,000 | 333 | 3,330 | 2 | 0.1 | 666 |" in rows
    assert "| 10,000 | 3,333 | 33,330 | 4 | 0.4 | 6,666 |" in rows


def test_two_processes_are_compared_with_twice_one() -> None:
    """Protects the comparison from flattering itself."""
    found = dict(_figures())
    found["replicas_2_chat", "carousel"] = Line(
        "replicas_2_chat", "carousel", 1500.0, busy_us=330.0, load=4.0
    )
    assert "| Chat Completions, no limits | 1,000 | 1,500 | 0.75 | 300 | 330 | 0.0, 4.0 |" in tables(found)


def test_a_figure_that_was_not_measured_is_missed() -> None:
    """Protects the page from being made of half a benchmark."""
    with pytest.raises(KeyError):
        wanted(figures_of([b'{"figure":"rss_idle","program":"carousel","value":60,"unit":"MiB"}\n']))


def test_of_two_runs_the_later_one_counts() -> None:
    """Protects the page from figures that were taken again."""
    line = b'{"figure":"rss_idle","program":"carousel","value":%d}\n'
    found = figures_of([line % 60, line % 61 + b"\n"])
    assert found["rss_idle", "carousel"].value == 61


def test_commands_of_connections_are_none_of_a_request() -> None:
    """Protects the count from its own question, and from counting a script's name for two commands."""
    stats: dict[str, object] = {
        "cmdstat_set": {"calls": 5},
        "cmdstat_evalsha": {"calls": 2},
        "cmdstat_info": {"calls": 9},
        "cmdstat_client|setinfo": {"calls": 4},
        "cmdstat_config|get": {"calls": 3},
        "cmdstat_script|load": {"calls": 1},
    }
    work = work_of(stats, {"used_cpu_user": 1.5, "used_cpu_sys": "0.25", "used_cpu_sys_children": 7.0})
    assert (work.total, work.scripts, work.busy_s) == (8, 2, 1.75)


def test_the_page_is_made_of_the_figures_that_are_kept() -> None:
    """Protects readers from figures typed by hand; ``python -m tests.bench.scaling`` renews them."""
    page = PAGE.read_text()
    assert renewed(page, figures_of([KEPT.read_bytes()])) == page
