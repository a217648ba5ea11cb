"""All probes, by feature."""

from collections.abc import Mapping
from typing import Final

from proxy.capabilities import Feature
from tests.support.capabilities import acting, saying, tuning
from tests.support.capabilities.probe import Probe

PROBES: Final[Mapping[Feature, Probe]] = {
    **saying.ENDPOINTS,
    **saying.TEXTS,
    **saying.MEDIA,
    **saying.JSON,
    **acting.TOOLS,
    **acting.KEPT,
    **tuning.THINKING,
    **tuning.LENGTH,
    **tuning.SAMPLING,
    **tuning.ACCOUNT,
}
