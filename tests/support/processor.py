"""What a process has taken of the processor, as the system counts it."""

import os
from pathlib import Path
from typing import Final

_TICKS_A_SECOND: Final = os.sysconf("SC_CLK_TCK")


def processor_s(pid: int) -> float:
    """Seconds a process has had of all processors so far, to a hundredth; raises OSError where it is no more.

    Source: fields 14 and 15 of ``/proc/pid/stat`` in proc(5).
    """
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_A_SECOND
