"""Trying what was out of use: one lease at a time has the permit, for a bounded time."""

from typing import Final

from proxy.pool.members import Lease, standings_of

ELSEWHERE_S: Final = 1.0
"""Seconds after which it is asked again whether another process is still trying something."""


def begin(lease: Lease, until_s: float) -> bool:
    """Give a lease the permit of all it tries, until monotonic `until_s`. False where there is nothing to be tried."""
    for standing in standings_of(lease.seat, lease.model):
        if not standing.ready:
            standing.take_permit(lease.serial, until_s)
            lease.trial = True
    if lease.trial:
        lease.member.probe = lease.serial
        lease.member.probe_until_s = until_s
    return lease.trial


def end(lease: Lease) -> None:
    """Take the permit back, where the lease still has it."""
    for standing in standings_of(lease.seat, lease.model):
        standing.give_back(lease.serial)
    if lease.member.probe == lease.serial:
        lease.member.probe = 0


def leave_to_others(lease: Lease, until_s: float) -> None:
    """Have nobody here try what this lease was to try before monotonic `until_s`: another process does."""
    # no lease has such a serial, so none gives the permit back
    nobody = -lease.serial
    for standing in standings_of(lease.seat, lease.model):
        if not standing.ready:
            standing.take_permit(nobody, until_s)
    lease.member.probe = nobody
    lease.member.probe_until_s = until_s
