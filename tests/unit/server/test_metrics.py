"""``/metrics``: every series there should be, and none that a client can make."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics

from proxy.pool.health import Reason, State
from proxy.server.app import ROUTES
from proxy.server.context import Services
from proxy.server.metrics import told
from proxy.telemetry.slots import Slots
from proxy.telemetry.workers import Workers
from tests.unit.dispatch.building import MODEL, Bench, bench, body, credential, refused, whole
from tests.unit.server.building import ADMINISTRATOR, AUTHORIZED, Client, client, services
from tests.unit.telemetry.ended import ended

_GRAFANA = Path(__file__).parents[3] / "deploy" / "grafana"
_NAMED = re.compile(r"\bcarousel_[a-z_]+")
_PARTS = re.compile(r"_(bucket|sum|count)$")
_NAMES = (
    "carousel_requests_total",
    "carousel_request_seconds",
    "carousel_first_event_seconds",
    "carousel_output_tokens_per_second",
    "carousel_answer_tokens_total",
    "carousel_attempts_total",
    "carousel_retries_sent_total",
    "carousel_retries_suppressed_total",
    "carousel_abandoned_requests_total",
    "carousel_dropped_fields_total",
    "carousel_cancelled_upstream_seconds_total",
    "carousel_upstream_seconds_after_departure_total",
    "carousel_tokens_total",
    "carousel_cost_usd_total",
    "carousel_unpriced_answers_total",
    "carousel_partial_answers_total",
    "carousel_credentials",
    "carousel_credential_state",
    "carousel_leases",
    "carousel_leases_ended_total",
    "carousel_credential_headroom_ratio",
    "carousel_queue_length",
    "carousel_pool_panic",
    "carousel_event_loop_lag_seconds",
    "carousel_event_loop_lag_worst_seconds",
    "carousel_requests_in_flight",
    "carousel_owed_deletions",
    "carousel_uptime_seconds",
    "carousel_workers",
    "carousel_info",
)


@pytest.fixture
def house() -> Bench:
    """Credentials of which the first refuses."""
    return bench(refused(429), *[whole()] * 5, credentials=[credential("api-1"), credential("api-2")])


@pytest.fixture
def shared(house: Bench) -> Services:
    """What handlers share."""
    return services(house)


@pytest.fixture
async def asked(shared: Services) -> AsyncIterator[Client]:
    """A client of all routes."""
    async with client(shared, ROUTES) as found:
        yield found


async def test_openmetrics_is_spoken_to_who_asks_for_it(asked: Client) -> None:
    """Protects scrapers of either format: the whole page is read by Prometheus' own reader."""
    headers = {**ADMINISTRATOR, "accept": "application/openmetrics-text; version=1.0.0"}
    answer = await asked.get("/metrics", headers=headers)
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    families = {family.name for family in openmetrics(await answer.text())}  # type: ignore[no-untyped-call] # the library has no types for its reader
    assert families == {name.removesuffix("_total") for name in _NAMES}


async def test_any_worker_tells_every_series_of_all(asked: Client, shared: Services) -> None:
    """Protects scrapes of several processes: whatever a process tells, another one can read and add to its own."""
    slots = Slots(2)
    other = Workers(slots, 1, shared.clock)

    async def answered(delay: float) -> None:
        assert delay
        other.answer(lambda: figures)

    shared.workers = Workers(slots, 0, shared.clock, answered)
    await asked.post("/v1/messages", data=body(), headers=AUTHORIZED)
    figures = told(shared)
    found = {metric.name: metric for metric in other.now(figures).metrics}
    assert list(found) == [metric.name for metric in figures.metrics]
    page = await (await asked.get("/metrics", headers=ADMINISTRATOR)).text()
    slots.close()
    assert "carousel_workers 2.0" in page
    assert 'carousel_leases_ended_total{credential="api-2",outcome="succeeded"} 2.0' in page
    assert "carousel_pool_panic 0.0" in page
    assert 'carousel_credentials{state="cooling"} 1.0' in page


async def _scraped(asked: Client) -> list[str]:
    answer = await asked.get("/metrics", headers=ADMINISTRATOR)
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return (await answer.text()).splitlines()


async def test_every_metric_is_there_from_the_start(asked: Client) -> None:
    """Protects dashboards and alerts, which name them."""
    told = [line.split()[2] for line in await _scraped(asked) if line.startswith("# TYPE")]
    assert sorted(told) == sorted(_NAMES)


async def test_a_request_shows_in_the_next_scrape(asked: Client) -> None:
    """Protects what is scraped from being a batch behind, and the pool's states from being those of the start."""
    assert (await asked.post("/v1/messages", data=body(), headers=AUTHORIZED)).status == 200
    lines = await _scraped(asked)
    labels = 'dialect="anthropic",model_class="sonnet-5-5",route="/v1/messages",status="200"'
    assert f"carousel_requests_total{{{labels}}} 1.0" in lines
    assert 'carousel_attempts_total{credential="api-1",outcome="rate"} 1.0' in lines
    assert 'carousel_attempts_total{credential="api-2",outcome="success"} 1.0' in lines
    assert "carousel_retries_sent_total 1.0" in lines
    assert 'carousel_tokens_total{sort="output"} 7.0' in lines
    assert 'carousel_credentials{state="cooling"} 1.0' in lines
    assert 'carousel_credential_state{credential="api-1",kind="anthropic",state="cooling"} 1.0' in lines
    assert 'carousel_credential_state{credential="api-1",kind="anthropic",state="ready"} 0.0' in lines
    assert 'carousel_leases_ended_total{credential="api-2",outcome="succeeded"} 1.0' in lines


async def test_ten_thousand_made_up_words_make_no_series(asked: Client, shared: Services) -> None:
    """Protects the memory of the server and of Prometheus from clients that make up models, paths and names."""
    first = [
        ended("success", model=model, path=path)
        for model in (MODEL, "claude-x-sonnet", "gpt")
        for path in ("/v1/messages", "/x")
    ]
    shared.metrics.count(first)
    before = await _scraped(asked)
    for number in range(10_000):
        model = ("claude-sonnet-{}-x", "claude-{}", "made-up-{}", "gpt-{}")[number % 4].format(number)
        shared.metrics.count(
            [ended("success", model=model, asked=model, client=f"c{number}", path=f"/nothing/{number}")]
        )
    after = await _scraped(asked)
    assert {re.sub(r" \S+$", "", line) for line in after} == {re.sub(r" \S+$", "", line) for line in before}


async def test_models_of_others_are_one_class(shared: Services) -> None:
    """Protects the class of a Claude model from counts of a fallback's."""
    shared.metrics.count([ended("success", model="gpt-sonnet"), ended("success", model="claude-sonnet-9-9")])
    classes = {labels[2] for labels in shared.metrics.requests}
    assert classes == {"other", "sonnet-other"}


@pytest.mark.parametrize("headers", [{}, AUTHORIZED])
async def test_only_the_administrator_scrapes(asked: Client, headers: dict[str, str]) -> None:
    """Protects aliases and volumes from clients."""
    assert (await asked.get("/metrics", headers=headers)).status == 401


@pytest.mark.parametrize("name", ["dashboard.json", "alerts.yml"])
def test_what_grafana_and_alerts_name_is_there(name: str) -> None:
    """Protects operators from an alert that never comes, because the metric it looks at has another name."""
    named = {_PARTS.sub("", found) for found in _NAMED.findall((_GRAFANA / name).read_text())}
    assert named
    assert named <= set(_NAMES)


def test_the_manual_says_what_to_do_for_every_alert_and_every_reason() -> None:
    """Protects whoever is woken up by an alert that nobody has written anything about."""
    manual = (_GRAFANA.parents[1] / "docs" / "operations.md").read_text()
    alerts = re.findall(r"alert: (\w+)", (_GRAFANA / "alerts.yml").read_text())
    assert len(alerts) == 12
    assert not [alert for alert in alerts if f"| `{alert}` |" not in manual]
    assert not [state for state in State if f"| `{state}`" not in manual]
    assert not [reason for reason in Reason if f"`, `{reason}` |" not in manual]


def test_the_manual_names_every_metric() -> None:
    """Protects the list people read from being shorter than the one Prometheus gets."""
    manual = (_GRAFANA.parents[1] / "docs" / "operations.md").read_text()
    assert not {name for name in _NAMES if f"`{name}`" not in manual}
