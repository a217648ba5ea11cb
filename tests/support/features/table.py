"""Everything the Messages API can be asked for and can answer, feature by feature."""

from typing import Final

from tests.support.features.feature import Feature
from tests.support.features.outcomes import OUTCOMES
from tests.support.features.prompts import PROMPTS
from tests.support.features.server_tools import SERVER_TOOLS

FEATURES: Final[dict[str, Feature]] = SERVER_TOOLS | PROMPTS | OUTCOMES
"""The features by name."""
