"""What is said when the configuration is wrong: every mistake at once, and never a value.

A value that was refused may be a secret typed into the wrong line, so reasons say what was expected instead.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake.

    Attributes:
        setting: what to correct: a setting's name as the operator wrote it, or a file and a path inside it.
        reason: what is wrong and what is expected; a clause without a full stop, never holding a value.
    """

    setting: str
    reason: str


class ConfigurationError(Exception):
    """The configuration cannot be used; nothing has been started.

    Attributes:
        problems: all mistakes that were found, in the order of the settings.
    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems: tuple[Problem, ...] = tuple(problems)
        super().__init__("\n".join(f"{problem.setting}: {problem.reason}" for problem in self.problems))


class InvalidValueError(ValueError):
    """Raised by a parser; its text is the reason of a `Problem` and never holds the value."""
