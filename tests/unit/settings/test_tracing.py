"""Where traces go, under the names other programs read too."""

from pathlib import Path

import pytest

from proxy.settings import ConfigurationError, load_settings
from proxy.settings.problems import InvalidValueError
from proxy.settings.tracing import headers


def test_no_traces_are_made_unless_somebody_says_where_they_go(tmp_path: Path) -> None:
    """Protects everybody from traces nobody asked for."""
    assert load_settings({}, {"OTEL_SERVICE_NAME": "x"}, tmp_path).tracing is None


def test_they_can_be_switched_off_whatever_else_is_set(tmp_path: Path) -> None:
    """Protects the one switch that all programs share."""
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318", "OTEL_SDK_DISABLED": "true"}
    assert load_settings({}, environment, tmp_path).tracing is None


def test_address_headers_and_name_are_read(tmp_path: Path) -> None:
    """Protects collectors that want a key."""
    environment = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "https://collector.test:4318",
        "OTEL_EXPORTER_OTLP_HEADERS": "X-Key=a%20b, other=c=d",
        "OTEL_SERVICE_NAME": "mine",
    }
    found = load_settings({}, environment, tmp_path).tracing
    assert found is not None
    assert (found.endpoint, found.service_name) == ("https://collector.test:4318", "mine")
    assert [(name, value.reveal()) for name, value in found.headers] == [("x-key", "a b"), ("other", "c=d")]
    assert "a b" not in repr(found)


@pytest.mark.parametrize(
    "text", ["canary", "=canary", "a b=canary", "ä=canary", "a=canary%0a", "a=canary%00", "a=", "a=canaryä"]
)
def test_headers_that_are_none_are_refused_without_being_shown(text: str) -> None:
    """Protects the export from a header that ends its line early, and the key from the log."""
    with pytest.raises(InvalidValueError) as refused:
        headers(text)
    assert "canary" not in str(refused.value)


def test_an_address_that_is_none_stops_the_start(tmp_path: Path) -> None:
    """Protects against traces that silently go nowhere."""
    with pytest.raises(ConfigurationError, match="OTEL_EXPORTER_OTLP_ENDPOINT"):
        load_settings({}, {"OTEL_EXPORTER_OTLP_ENDPOINT": "collector:4317"}, tmp_path)
