"""What each kind of credential can carry of what clients of each dialect can ask for, as one table.

The page docs/compatibility.md and ``GET /v1/capabilities`` are made from it, and routing goes by it.
"""

from proxy.capabilities.feature import Cell, Feature, Front, Row, Verdict
from proxy.capabilities.losses import losses
from proxy.capabilities.reading import features_of
from proxy.capabilities.table import CELLS, ROWS

__all__ = ["CELLS", "ROWS", "Cell", "Feature", "Front", "Row", "Verdict", "features_of", "losses"]
