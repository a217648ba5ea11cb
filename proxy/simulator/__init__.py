"""A simulated Claude on a real socket, below the level of any HTTP library so that it can misbehave.

Demo mode, the fire drill, the tests and the benchmark all speak to this one. It knows nothing of the gateway.
"""

from proxy.simulator.buckets import Limits
from proxy.simulator.record import EndedBy, Received, Record, Snapshot
from proxy.simulator.script import ANY_KEY, Insert, Pace, Step
from proxy.simulator.server import Simulator
from proxy.simulator.web_behaviours import BEHAVIOURS
from proxy.simulator.web_ledger import Conversation, Leak, Ledger, StoredFile

__all__ = [
    "ANY_KEY",
    "BEHAVIOURS",
    "Conversation",
    "EndedBy",
    "Insert",
    "Leak",
    "Ledger",
    "Limits",
    "Pace",
    "Received",
    "Record",
    "Simulator",
    "Snapshot",
    "Step",
    "StoredFile",
]
