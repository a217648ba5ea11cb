"""Settings of traces, under the names every program that speaks OpenTelemetry reads.

Source: the pages on SDK and OTLP exporter configuration of the OpenTelemetry specification.
"""

from typing import Final
from urllib.parse import unquote

from proxy.secrets import Secret
from proxy.settings import values
from proxy.settings.problems import InvalidValueError
from proxy.settings.setting import Group, Setting

OTEL_EXPORTER_OTLP_ENDPOINT: Final[Setting[str | None]] = Setting(
    name="OTEL_EXPORTER_OTLP_ENDPOINT",
    parse=values.optional(values.base_url),
    default=None,
    shown_default="none",
    text="Where traces are sent by OTLP over HTTP, without /v1/traces; needs the extra opentelemetry.",
    group=Group.STORAGE,
)


def headers(text: str) -> tuple[tuple[str, Secret], ...]:
    """``name=value`` with commas between, values percent-encoded; raises InvalidValueError without showing any."""
    found: list[tuple[str, Secret]] = []
    for pair in values.words(text):
        name, equals, value = pair.partition("=")
        name, shown = name.strip().lower(), unquote(value.strip())
        if not equals or not name.replace("-", "").isalnum() or not name.isascii() or not shown.isprintable():
            raise InvalidValueError("expected name=value with commas between")
        # the same rules as for any other key, but for the space behind a word such as Bearer
        values.secret(shown.replace(" ", ""))
        found.append((name, Secret(shown)))
    return tuple(found)


OTEL_EXPORTER_OTLP_HEADERS: Final[Setting[tuple[tuple[str, Secret], ...]]] = Setting(
    name="OTEL_EXPORTER_OTLP_HEADERS",
    parse=headers,
    default=(),
    shown_default="none",
    text="Headers sent with traces, name=value with commas between.",
    group=Group.STORAGE,
    secret=True,
)
OTEL_SERVICE_NAME: Final = Setting(
    name="OTEL_SERVICE_NAME",
    parse=values.plain,
    default="carousel",
    shown_default="carousel",
    text="What this server is called in traces.",
    group=Group.STORAGE,
)
OTEL_SDK_DISABLED: Final = Setting(
    name="OTEL_SDK_DISABLED",
    parse=values.boolean,
    default=False,
    shown_default="false",
    text="Sends no traces whatever else is set.",
    group=Group.STORAGE,
)

TRACING_SETTINGS: Final[tuple[Setting[object], ...]] = (
    OTEL_EXPORTER_OTLP_ENDPOINT,
    OTEL_EXPORTER_OTLP_HEADERS,
    OTEL_SERVICE_NAME,
    OTEL_SDK_DISABLED,
)
