"""``/metrics``: what Prometheus asks for. What changes by itself, as states of credentials do, is looked up then.

Of several processes on one address, any tells the figures of all.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from aiohttp import web
from aiohttp.hdrs import ACCEPT, CACHE_CONTROL, CONTENT_TYPE

from proxy import __version__
from proxy.model.tally import Tally
from proxy.pool import MemberView, State
from proxy.server.context import CALLER, SERVICES, Services
from proxy.server.extras import active_sessions
from proxy.server.gate import identity_headers
from proxy.server.routes import OPENAI_CHAT
from proxy.telemetry.exposition import Joined, Labels, Metric, Sort, exposed
from proxy.telemetry.redaction import REDACTOR
from proxy.telemetry.workers import Figures

_MICRO: Final = 1_000_000
_CREDENTIAL: Final = ("credential",)


async def metrics(request: web.Request) -> web.Response:
    """``GET /metrics``, in the format of Prometheus or of OpenMetrics that the caller asks for."""
    services = request.app[SERVICES]
    text, content_type = exposed((await told_by_all(services)).metrics, request.headers.get(ACCEPT, ""))
    headers = {
        **services.common_headers,
        **identity_headers(OPENAI_CHAT, request[CALLER].request_id),
        CACHE_CONTROL: "no-store",
        CONTENT_TYPE: content_type,
    }
    return web.Response(body=REDACTOR.clean(text), headers=headers)


def told(services: Services) -> Figures:
    """What this process has to tell of itself."""
    services.traces.settle()
    used = services.bookkeeper.ledger.by_client()
    return Figures(
        metrics=(*services.metrics.metrics(), *_used(used), *_pool(services), *_process(services)),
        used=used,
        active_sessions=active_sessions(services),
        answers_kept=services.cache.entries(None) if services.cache is not None else 0,
    )


async def told_by_all(services: Services) -> Figures:
    """The same of all processes of this address."""
    workers = services.workers
    return told(services) if workers is None else await workers.all(lambda: told(services))


def answer_workers(services: Services) -> None:
    """Tell the other processes of this address, if they have asked."""
    if services.workers is not None:
        services.workers.answer(lambda: told(services))


def _used(used: Mapping[str, Tally]) -> Iterator[Metric]:
    """What all answers used, those included that no client got."""
    tally = Tally()
    for each in used.values():
        tally.add(each)
    tokens: dict[Labels, float] = {
        ("input",): tally.input_tokens,
        ("output",): tally.output_tokens,
        ("cache_read",): tally.cache_read_tokens,
        ("cache_write_5m",): tally.cache_write_5m_tokens,
        ("cache_write_1h",): tally.cache_write_1h_tokens,
    }
    yield Metric(
        "carousel_tokens_total", Sort.COUNTER, "Tokens of all upstream answers, each once.", ("sort",), tokens
    )
    yield _counter(
        "cost_usd", "US dollars, at list prices, of answers whose cost is known.", _usd(tally.cost_micro_usd)
    )
    yield _counter("unpriced_answers", "Upstream answers whose cost is not known.", tally.unpriced)
    yield _counter("partial_answers", "Upstream answers that broke off or were left.", tally.partial)


def _pool(services: Services) -> Iterator[Metric]:
    pool, views = services.pool, services.pool.snapshot()
    counts: dict[Labels, float] = {(str(state),): 0.0 for state in State}
    for view in views:
        counts[str(view.worst),] += 1
    yield Metric(
        "carousel_credentials",
        Sort.GAUGE,
        "Credentials by the worst state they are in, as a whole or in a limit class.",
        ("state",),
        counts,
        Joined.OWN,
    )
    yield Metric(
        "carousel_credential_state",
        Sort.GAUGE,
        "1 for the worst state a credential is in, 0 for the others.",
        ("credential", "kind", "state"),
        {
            (view.name, str(view.kind), str(state)): float(view.worst is state)
            for view in views
            for state in State
        },
        Joined.OWN,
    )
    yield Metric(
        "carousel_leases",
        Sort.GAUGE,
        "Upstream calls that are under way.",
        _CREDENTIAL,
        {(view.name,): view.in_flight for view in views},
    )
    yield Metric(
        "carousel_credential_headroom_ratio",
        Sort.GAUGE,
        "The least share that is left of any of a credential's limits, as far as known.",
        _CREDENTIAL,
        {(view.name,): view.headroom for view in views if view.headroom is not None},
        Joined.LEAST,
    )
    yield Metric(
        "carousel_leases_ended_total",
        Sort.COUNTER,
        "Leases given back, by how the call ended for the credential.",
        ("credential", "outcome"),
        dict(pair for view in views for pair in _ended(view)),
    )
    yield _gauge("queue_length", "Requests that wait for a place.", pool.waiting)
    yield _gauge(
        "pool_panic",
        "1 while credentials are in use only because too many failed at once.",
        float(pool.panic),
        Joined.MOST,
    )
    budget = services.dispatcher.budget
    yield _counter("retries_suppressed", "Retries the budget did not allow.", budget.suppressed)


def _ended(view: MemberView) -> Iterator[tuple[Labels, float]]:
    yield (view.name, "succeeded"), view.succeeded
    yield (view.name, "failed"), view.failed
    yield (view.name, "abandoned"), view.abandoned


def _process(services: Services) -> Iterator[Metric]:
    lag = services.loop_lag
    yield Metric(
        "carousel_event_loop_lag_seconds",
        Sort.HISTOGRAM,
        "How late the event loop came to work that was due.",
        (),
        {(): lag.seconds},
    )
    yield _gauge(
        "event_loop_lag_worst_seconds", "The worst of that in the last 15 seconds.", lag.worst_s, Joined.MOST
    )
    yield _gauge("requests_in_flight", "Requests being answered, this one included.", services.inflight.count)
    owed = services.deletions.owed if services.deletions is not None else 0
    yield _gauge("owed_deletions", "Conversations at claude.ai that are still to be deleted.", owed)
    uptime_s = services.clock.monotonic_s() - services.started_s
    yield _gauge("uptime_seconds", "Since the start.", round(uptime_s, 1), Joined.MOST)
    yield _gauge("workers", "Processes whose figures these are.", 1)
    yield Metric("carousel_info", Sort.GAUGE, "Always 1.", ("version",), {(__version__,): 1.0}, Joined.OWN)


def _counter(name: str, told: str, value: float) -> Metric:
    return Metric(f"carousel_{name}_total", Sort.COUNTER, told, (), {(): value})


def _gauge(name: str, told: str, value: float, joined: Joined = Joined.SUM) -> Metric:
    return Metric(f"carousel_{name}", Sort.GAUGE, told, (), {(): value}, joined)


def _usd(micro_usd: int) -> float:
    return micro_usd / _MICRO
