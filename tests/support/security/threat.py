"""What a threat is, for the table of docs/security.md."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Threat:
    """One way to do harm.

    Attributes:
        control: what stands against it.
        holds: what the tests have to see for it to hold.
        tests: those tests, as pytest names them, all cases of each.
    """

    control: str
    holds: str
    tests: tuple[str, ...]
