"""When the pool has to look again, because something will have passed by itself."""

from collections.abc import Iterable

from proxy.pool.members import Member


def next_deadline_s(members: Iterable[Member], now_s: float) -> float:
    """The first moment after `now_s` at which one of `members` may be of use again; infinite where there is none."""
    deadlines_s = [float("inf")]
    for member in members:
        standings = [member.standing, member.way_standing, *member.closed.values()]
        standings.extend(seat.standing for seat in member.seats.values())
        for standing in standings:
            if not standing.ready and not standing.disabled:
                deadlines_s += [standing.until_s, standing.permit_until_s if standing.permit else 0.0]
        if member.probe:
            deadlines_s.append(member.probe_until_s)
        if member.quota is not None:
            deadlines_s.append(member.quota.free_at_s)
    return min(deadline_s for deadline_s in deadlines_s if deadline_s > now_s)
