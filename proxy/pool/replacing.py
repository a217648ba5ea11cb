"""Another configuration taken over while leases are out: who stays, who comes, who goes, and whose health is kept.

What a call is made with, its key, address and way out, belongs to a member for life, so that a lease ends on what it
began with. Only the rules of a member that stays are changed in place.
"""

from collections.abc import Hashable, Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass

from proxy.credentials import Credential
from proxy.pool.members import Member, WayOut, endpoint_of
from proxy.pool.outcomes import Settled


@dataclass(frozen=True, slots=True)
class Difference:
    """What another configuration changes, by alias, each in the order of the configuration that has it.

    Attributes:
        added: there are now.
        changed: are there with other fields.
        removed: are there no more.
        renewed: those of `changed` that are another key or are used elsewhere, so that nothing known of the old
            one holds.
    """

    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    renewed: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.changed or self.removed)


@dataclass(frozen=True, slots=True)
class Replaced:
    """What taking over a configuration brought about: the difference, and who got a place by it."""

    difference: Difference
    settled: Settled


def compare(present: Iterable[Credential], wanted: Sequence[Credential]) -> Difference:
    """What `wanted` changes. Aliases are unique in both."""
    before = {credential.name: credential for credential in present}
    names = {credential.name for credential in wanted}
    both = [(before[credential.name], credential) for credential in wanted if credential.name in before]
    return Difference(
        added=tuple(credential.name for credential in wanted if credential.name not in before),
        changed=tuple(new.name for old, new in both if old != new),
        removed=tuple(name for name in before if name not in names),
        renewed=tuple(new.name for old, new in both if old.identity != new.identity),
    )


def succeed(
    present: Mapping[str, Member],
    wanted: Sequence[Credential],
    ways_out: MutableMapping[Hashable, WayOut],
    left: Iterable[Member] = (),
) -> tuple[tuple[Member, ...], tuple[Member, ...]]:
    """The members of another configuration, in its order, and those of `present` that leave.

    Members whose health ends with them are marked as retired, also of those that `left` before: their follower may
    be among the leaving.
    """
    members = tuple(_member_for(credential, present.get(credential.name), ways_out) for credential in wanted)
    staying = {id(member) for member in members}
    leaving = tuple(member for member in present.values() if id(member) not in staying)
    followers = {member.name: member for member in members}
    for member in (*left, *leaving):
        follower = followers.get(member.name)
        member.retired = follower is None or follower.standing is not member.standing
    return members, leaving


def _member_for(
    credential: Credential, member: Member | None, ways_out: MutableMapping[Hashable, WayOut]
) -> Member:
    if member is not None and _called_alike(member.credential, credential):
        member.obey(credential)
        return member
    made = Member(credential, ways_out.setdefault(endpoint_of(credential), WayOut()))
    if member is not None and member.credential.identity == credential.identity:
        made.inherit(member)
    return made


def _called_alike(one: Credential, other: Credential) -> bool:
    return _call_of(one) == _call_of(other)


def _call_of(credential: Credential) -> Hashable:
    return (
        credential.identity,
        credential.way_out,
        credential.config_dir,
        credential.working_dir,
        credential.cli_path,
    )
