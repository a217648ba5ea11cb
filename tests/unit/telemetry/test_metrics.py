"""What is counted of requests, under labels nobody outside can choose."""

import msgspec
import pytest

from proxy.telemetry.exposition import Histogram, Metric
from proxy.telemetry.metrics import OTHER, RequestMetrics, route_of
from tests.unit.telemetry.ended import ENDED_UNIX_MS, ended


def _counted(subject: RequestMetrics) -> dict[str, Metric]:
    return {metric.name: metric for metric in subject.metrics()}


@pytest.fixture
def subject() -> RequestMetrics:
    """Counts of a server whose models are all of one class."""
    return RequestMetrics(lambda _: "some-class")


@pytest.mark.parametrize(
    ("path", "route", "dialect"),
    [
        ("/v1/chat/completions", "/v1/chat/completions", "openai"),
        ("/hf/v1/chat/completions", "/v1/chat/completions", "openai"),
        ("/v1/completions", "/v1/completions", "openai"),
        ("/v1/messages", "/v1/messages", "anthropic"),
        ("/hf/v1/messages/count_tokens", "/v1/messages/count_tokens", "anthropic"),
        ("/openai/deployments/anything/chat/completions", "/openai/deployments", "openai"),
        ("/hf/v1/openai/deployments/else/chat/completions", "/v1/openai/deployments", "openai"),
        ("/v1/messages/batches/msgbatch_1/results", "/v1/messages/batches", "anthropic"),
        ("/v1/files/file_1/content", "/v1/files", "anthropic"),
        ("/v1/responses", "/v1/responses", "openai"),
        ("/v1/responses/resp_1/input_items", "/v1/responses", "openai"),
        ("/v1/something/new", OTHER, OTHER),
        ("", OTHER, OTHER),
    ],
)
def test_a_path_is_counted_under_its_route(path: str, route: str, dialect: str) -> None:
    """Protects the labels from ids and names of deployments, which clients choose."""
    assert route_of(path) == (route, dialect)


def test_each_path_model_and_status_is_counted_apart_however_many_there_are() -> None:
    """Protects the counts from each other, and memory from ids and names that clients think up."""
    subject = RequestMetrics(lambda model: model[:1])
    paths = [f"/v1/files/file_{number}" for number in range(600)]
    for path in (*paths, *reversed(paths)):
        subject.count([ended("success", path=path), ended("success", path=path, status=400)])
        subject.count([ended("success", path=path, model="other")])
    assert _counted(subject)["carousel_requests_total"].series == {
        ("/v1/files", "anthropic", "c", "200"): 1200,
        ("/v1/files", "anthropic", "c", "400"): 1200,
        ("/v1/files", "anthropic", "o", "200"): 1200,
    }
    assert len(subject._series) <= 1024


def test_a_request_is_counted_once_with_each_of_its_attempts(subject: RequestMetrics) -> None:
    """Protects the figures of a retry: one request, two calls, one of them more than it needed."""
    subject.count(
        [ended("server", "success", dropped=["seed", "logit_bias"], input_tokens=5, output_tokens=80)]
    )
    found = _counted(subject)
    assert found["carousel_requests_total"].series == {("/v1/messages", "anthropic", "some-class", "200"): 1}
    assert found["carousel_attempts_total"].series == {("api-1", "server"): 1, ("api-2", "success"): 1}
    assert found["carousel_retries_sent_total"].series == {(): 1}
    assert found["carousel_dropped_fields_total"].series == {(): 2}
    assert found["carousel_abandoned_requests_total"].series == {(): 0}
    assert found["carousel_answer_tokens_total"].series == {
        ("some-class", "input"): 5,
        ("some-class", "output"): 80,
    }


def test_times_are_counted_in_seconds_and_speed_from_the_first_event_on(subject: RequestMetrics) -> None:
    """Protects the units of the charts: a long wait for the first event is no slow writing."""
    subject.count([ended("success", output_tokens=80)])
    found = _counted(subject)
    totals = {}
    for name in (
        "carousel_request_seconds",
        "carousel_first_event_seconds",
        "carousel_output_tokens_per_second",
    ):
        (seen,) = found[name].series.values()
        assert isinstance(seen, Histogram)
        totals[name] = seen.total
    assert totals == {
        "carousel_request_seconds": 3.0,
        "carousel_first_event_seconds": 1.0,
        "carousel_output_tokens_per_second": 40.0,
    }


@pytest.mark.parametrize(
    "line",
    [
        {"stream": False, "output_tokens": 80},
        {"output_tokens": None},
        {"output_tokens": 80, "first_ms": 3000.0},
    ],
    ids=str,
)
def test_an_answer_that_tells_no_speed_counts_for_none(
    subject: RequestMetrics, line: dict[str, object]
) -> None:
    """Protects the speed from unary answers, which come all at once, and from a division by nothing."""
    subject.count([ended("success", at_unix_ms=ENDED_UNIX_MS, asked="sonnet", **line)])
    assert not _counted(subject)["carousel_output_tokens_per_second"].series


@pytest.mark.parametrize(
    ("outcome", "status", "left"),
    [("abandoned", 200, 1), ("abandoned", 499, 1), ("success", 200, 0), ("server", 502, 0)],
)
def test_a_client_that_left_is_counted_once(
    subject: RequestMetrics, outcome: str, status: int, left: int
) -> None:
    """Protects the count of cancelled work, however far the answer had come."""
    subject.count([ended(outcome, status=status)])
    assert _counted(subject)["carousel_abandoned_requests_total"].series == {(): left}


def test_a_request_nobody_could_read_has_no_class(subject: RequestMetrics) -> None:
    """Protects refusals from being counted for a model they never named."""
    subject.count([ended(model=None, status=400, first_ms=None, stream=None)])
    found = _counted(subject)
    assert list(found["carousel_requests_total"].series) == [("/v1/messages", "anthropic", "", "400")]
    assert not found["carousel_first_event_seconds"].series


def test_what_was_ended_with_its_client_is_counted_in_seconds(subject: RequestMetrics) -> None:
    """Protects the figure that says whether calls are paid for that nobody reads."""
    left = msgspec.structs.replace(ended("server", "abandoned"), after_departure_s=0.25)
    stayed = msgspec.structs.replace(ended("success"), after_departure_s=9.0)
    subject.count([left, stayed])
    found = _counted(subject)
    assert found["carousel_cancelled_upstream_seconds_total"].series == {(): 0.002}
    assert found["carousel_upstream_seconds_after_departure_total"].series == {(): 0.25}
