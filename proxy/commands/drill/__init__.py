"""``drill``: the faults of the table against the present configuration, on a simulated Claude."""

from proxy.commands.drill.command import drill

__all__ = ["drill"]
