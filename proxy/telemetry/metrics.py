"""What is counted of requests that have ended. Every label has a bounded number of values: no word of a client's.

Requests are counted a batch at a time, behind the answers; see `proxy.telemetry.traces.Traces`.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

from proxy.telemetry.exposition import Histogram, Labels, Metric, Sort
from proxy.telemetry.requests import RequestLine
from proxy.telemetry.traces import RequestTrace

OTHER: Final = "other"
_LEFT: Final = 499
_SERIES_MAX: Final = 1024
_BY_ROUTE: Final = ("route", "dialect")
_ABANDONED: Final = "abandoned"
_SECONDS: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 60.0, 120.0, 300.0, 600.0)
_TOKENS_PER_SECOND: Final = (1.0, 5.0, 10.0, 20.0, 30.0, 40.0, 60.0, 80.0, 100.0, 150.0, 200.0, 400.0)
_PREFIX: Final = "/hf"
_OPENAI: Final = "openai"
_ANTHROPIC: Final = "anthropic"
_EXACT: Final = {
    "/v1/chat/completions": _OPENAI,
    "/v1/completions": _OPENAI,
    "/v1/messages": _ANTHROPIC,
    "/v1/messages/count_tokens": _ANTHROPIC,
    "/v1/responses": _OPENAI,
}
_BELOW: Final = (
    ("/openai/deployments/", _OPENAI),
    ("/v1/openai/deployments/", _OPENAI),
    ("/v1/messages/batches", _ANTHROPIC),
    ("/v1/files", _ANTHROPIC),
    ("/v1/responses/", _OPENAI),
)


def route_of(path: str) -> tuple[str, str]:
    """The route a path belongs to, without what a client put into it, and the dialect of that route."""
    path = path.removeprefix(_PREFIX)
    if (dialect := _EXACT.get(path)) is not None:
        return path, dialect
    for beginning, dialect in _BELOW:
        if path.startswith(beginning):
            return beginning.rstrip("/"), dialect
    return OTHER, OTHER


class _Series(NamedTuple):
    """Where the requests of one path, model and status are counted.

    Attributes:
        requests: labels of that metric.
        route: labels of those that tell only routes apart.
        model_class: of the model; empty where none was named.
        took: how long they took.
    """

    requests: Labels
    route: Labels
    model_class: str
    took: Histogram


class RequestMetrics:
    """Counts of requests and of the upstream calls made for them.

    Attributes:
        requests: by route, dialect, model class and status.
        attempts: upstream calls by credential and outcome.
        tokens: of answers that clients got, by model class and direction.
        retries: upstream calls after the first of a request.
        abandoned: requests whose client left before the end.
        dropped: fields that could not be carried.
        cancelled_s: how long upstream calls had been under way that were ended because their client left.
        after_departure_s: how long they went on after that.
    """

    def __init__(self, model_class: Callable[[str], str]) -> None:
        """`model_class` says which of a bounded number of classes a model is of."""
        self._model_class = model_class
        self.requests: Counter[Labels] = Counter()
        self.attempts: Counter[Labels] = Counter()
        self.tokens: Counter[Labels] = Counter()
        self.retries = 0
        self.abandoned = 0
        self.dropped = 0
        self.cancelled_s = 0.0
        self.after_departure_s = 0.0
        self._took: defaultdict[Labels, Histogram] = defaultdict(lambda: Histogram(_SECONDS))
        self._first: defaultdict[Labels, Histogram] = defaultdict(lambda: Histogram(_SECONDS))
        self._speed: defaultdict[Labels, Histogram] = defaultdict(lambda: Histogram(_TOKENS_PER_SECOND))
        self._series: dict[tuple[str, str | None, int], _Series] = {}

    def count(self, ended: Sequence[RequestTrace]) -> None:
        """Count requests that have ended, each once."""
        for trace in ended:
            self._count(trace)

    def _count(self, trace: RequestTrace) -> None:
        line, attempts = trace.line, trace.attempts
        place = line.path, line.model, line.status
        series = self._series.get(place) or self._series_of(*place)
        self.requests[series.requests] += 1
        series.took.observe(line.took_ms / 1000)
        if line.first_ms is not None:
            self._first[series.route].observe(line.first_ms / 1000)
        left = line.status == _LEFT
        for attempt in attempts:
            self.attempts[attempt.credential, attempt.outcome] += 1
            if attempt.outcome == _ABANDONED:
                left = True
                self.cancelled_s += attempt.took_ms / 1000
        if len(attempts) > 1:
            self.retries += len(attempts) - 1
        self.dropped += len(line.dropped)
        if left:
            self.abandoned += 1
            self.after_departure_s += trace.after_departure_s
        self._count_tokens(line, series.model_class)

    def _series_of(self, path: str, model: str | None, status: int) -> _Series:
        # paths and models come from clients: what they make us remember has to have an end
        if len(self._series) >= _SERIES_MAX:
            self._series.clear()
        route = route_of(path)
        model_class = self._model_class(model) if model else ""
        made = _Series((*route, model_class, str(status)), route, model_class, self._took[route])
        self._series[path, model, status] = made
        return made

    def _count_tokens(self, line: RequestLine, model_class: str) -> None:
        if line.input_tokens:
            self.tokens[model_class, "input"] += line.input_tokens
        if not line.output_tokens:
            return
        self.tokens[model_class, "output"] += line.output_tokens
        writing_ms = line.took_ms - (line.first_ms or 0.0)
        if line.stream and writing_ms > 0:
            self._speed[model_class,].observe(line.output_tokens * 1000 / writing_ms)

    def metrics(self) -> Iterator[Metric]:
        """Everything that was counted."""
        yield from self._times()
        for name, told, labels, series in (
            (
                "requests",
                "Requests that have ended, by the status their client got; 499 where it had left before.",
                (*_BY_ROUTE, "model_class", "status"),
                self.requests,
            ),
            (
                "answer_tokens",
                "Tokens of answers that clients got, as the upstream told; those of prompt caches left out.",
                ("model_class", "direction"),
                self.tokens,
            ),
            (
                "attempts",
                "Upstream calls, by what became of them.",
                ("credential", "outcome"),
                self.attempts,
            ),
        ):
            yield Metric(f"carousel_{name}_total", Sort.COUNTER, told, labels, series)
        for name, told, value in (
            ("retries_sent", "Upstream calls after the first one of a request.", self.retries),
            ("abandoned_requests", "Requests whose client left before the end.", self.abandoned),
            ("dropped_fields", "Fields of requests that could not be carried upstream.", self.dropped),
            (
                "cancelled_upstream_seconds",
                "How long upstream calls had been under way that were ended because their client left.",
                self.cancelled_s,
            ),
            (
                "upstream_seconds_after_departure",
                "How long such calls went on after their client was found to have left.",
                self.after_departure_s,
            ),
        ):
            yield Metric(f"carousel_{name}_total", Sort.COUNTER, told, (), {(): value})

    def _times(self) -> Iterator[Metric]:
        yield Metric(
            "carousel_request_seconds",
            Sort.HISTOGRAM,
            "From the first byte of a request to the last of its answer.",
            _BY_ROUTE,
            self._took,
        )
        yield Metric(
            "carousel_first_event_seconds",
            Sort.HISTOGRAM,
            "From the first byte of a request to the first event of its answer, or the whole of a unary one.",
            _BY_ROUTE,
            self._first,
        )
        yield Metric(
            "carousel_output_tokens_per_second",
            Sort.HISTOGRAM,
            "How fast streamed answers were written, from their first event on.",
            ("model_class",),
            self._speed,
        )
