"""What every command that reads the configuration needs of it."""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from proxy.model.catalog import Catalog, CatalogError
from proxy.secrets import Secret
from proxy.settings import Settings

_TRACING_PACKAGE: Final = "opentelemetry"
NO_CREDENTIAL: Final = """\
No credential is configured, so there is nothing to answer with.
Set ANTHROPIC_API_KEY in the environment or in .env, or list credentials in sessions.json
(sessions.json.example shows how), or start with --demo to talk to a simulated Claude.
"""


class CannotStart(Exception):
    """The configuration does not allow a start; the text says what to do."""


def catalog_of(overlay: Path | None) -> Catalog:
    """The built-in catalog with the operator's file laid over it. Raises CannotStart."""
    try:
        return Catalog.load(overlay.read_bytes() if overlay is not None else None)
    except OSError as error:
        raise CannotStart(f"MODEL_CATALOG_FILE: {overlay} cannot be read: {error.strerror}.") from None
    except CatalogError as error:
        raise CannotStart(f"MODEL_CATALOG_FILE: {error}.") from None


def demand_packages(settings: Settings) -> None:
    """Raises CannotStart where a package is missing that the settings need."""
    if settings.tracing is not None and find_spec(_TRACING_PACKAGE) is None:
        raise CannotStart(
            "OTEL_EXPORTER_OTLP_ENDPOINT is set, and the packages for it are not installed: "
            'pip install "carousel-gateway[opentelemetry]", or unset it.'
        )


def secrets_of(settings: Settings) -> Iterator[Secret]:
    """Whatever was configured beside credentials and must never be shown."""
    sources = settings.sources
    yield from sources.variables.values()
    yield from (secret for secret in (sources.claude_api_keys, sources.way_out) if secret is not None)
    if settings.tracing is not None:
        yield from (value for _, value in settings.tracing.headers)
    if (redis_url := settings.redis_url) is not None:
        yield redis_url
        if (password := urlsplit(redis_url.reveal()).password) is not None:
            yield from {Secret(password), Secret(unquote(password))}
