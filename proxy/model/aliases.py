"""The operator's rules for model names (``MODEL_ALIASES``), and what a name was resolved to."""

from dataclasses import dataclass
from fnmatch import fnmatchcase

_OFF = "off"
_ON = "on"
_THINK_SUFFIX = "-think"


@dataclass(frozen=True, slots=True)
class Resolution:
    """What a client's model name means.

    Attributes:
        model: the id to ask for.
        think: whether a ``-think`` suffix asked for thinking.
        alias_of: the name the client wrote, without that suffix, where it differs from `model`; else None.
        known: whether the catalog has the model and it has not been retired.
    """

    model: str
    think: bool
    alias_of: str | None
    known: bool


@dataclass(frozen=True, slots=True)
class AliasRules:
    """How names become others.

    Attributes:
        exact: names and what they become.
        patterns: shell patterns and what they become; the first that matches wins, after the exact names.
        families: whether family words and retired ids become the family's present model.
    """

    exact: tuple[tuple[str, str], ...] = ()
    patterns: tuple[tuple[str, str], ...] = ()
    families: bool = True

    @classmethod
    def parse(cls, text: str) -> "AliasRules":
        """Read the setting: ``off``, and ``old=new`` pairs, comma-separated.

        Raises ValueError, naming the part that is neither.
        """
        exact: list[tuple[str, str]] = []
        patterns: list[tuple[str, str]] = []
        families = True
        for part in filter(None, (part.strip() for part in text.split(","))):
            if part.lower() in {_OFF, _ON}:
                families = part.lower() == _ON
                continue
            old, equals, new = (piece.strip() for piece in part.partition("="))
            if not equals or not old or not new:
                raise ValueError(f"{part!r} is neither off nor of the form old=new")
            (patterns if set(old) & set("*?[") else exact).append((old, new))
        return cls(tuple(exact), tuple(patterns), families)

    def applied(self, model: str) -> tuple[str, bool]:
        """The name after the operator's own pairs, without a ``-think`` suffix, and whether there was one.

        A pair for the bare name holds for the name with the suffix too, and keeps it; one that spells the
        suffix out takes it away, unless it puts it back.
        """
        base, think = split_think(model)
        new = base
        exact = dict(self.exact)
        if model in exact:
            new, think = exact[model], False
        elif base in exact:
            new = exact[base]
        else:
            for pattern, replacement in self.patterns:
                if fnmatchcase(model, pattern):
                    new, think = replacement, think and not pattern.endswith(_THINK_SUFFIX)
                    break
        new, also = split_think(new)
        return new, think or also


def split_think(model: str) -> tuple[str, bool]:
    """A model's name without its ``-think`` suffix, and whether it had one."""
    return model.removesuffix(_THINK_SUFFIX), model.endswith(_THINK_SUFFIX)
