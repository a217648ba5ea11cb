"""Reading one JSON object field by field, so that every mistake in it is found and none shows a value."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

import msgspec

from proxy.secrets import Secret
from proxy.settings import InvalidValueError, Problem, values

T = TypeVar("T")

_REFERENCE: Final = re.compile(r"\$(?:\{([A-Z_][A-Z0-9_]*)\}|([A-Z_][A-Z0-9_]*))")
_POSITION: Final = re.compile(r"byte \d+")
_SHOWN_FIELD: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,39}")


@dataclass(slots=True)
class Reader:
    """What reading needs besides the text.

    Attributes:
        variables: what ``$NAME`` is looked up in.
        problems: mistakes found so far.
    """

    variables: Mapping[str, Secret]
    problems: list[Problem] = field(default_factory=list)

    def wrong(self, where: str, reason: str) -> None:
        """Remember a mistake."""
        self.problems.append(Problem(where, reason))

    def value(self, where: str, text: msgspec.Raw, expected: type[T], reason: str) -> T | None:
        """JSON of one type; None and a problem if it is another or no JSON."""
        try:
            return msgspec.json.decode(text, type=expected)
        except msgspec.ValidationError:
            # The library's own text can quote the value.
            self.wrong(where, reason)
        except (msgspec.DecodeError, UnicodeError) as error:
            position = _POSITION.search(str(error))
            self.wrong(where, f"is not valid JSON{f' ({position[0]})' if position else ''}")
        return None

    def members(self, where: str, text: msgspec.Raw) -> Mapping[str, msgspec.Raw] | None:
        """The fields of a JSON object, unread; None and a problem if it is none."""
        return self.value(where, text, dict[str, msgspec.Raw], "expected an object")

    def items(self, where: str, text: msgspec.Raw) -> Sequence[msgspec.Raw]:
        """The items of a JSON list, unread; none and a problem if it is no list."""
        return self.value(where, text, list[msgspec.Raw], "expected a list") or ()

    def strings(self, where: str, text: msgspec.Raw, parse: Callable[[str], T]) -> tuple[T, ...] | None:
        """A list of strings, each parsed; None and a problem if one cannot be."""
        items = self.value(where, text, list[str], "expected a list of strings")
        if items is None:
            return None
        read = [self._parse(f"{where}[{index}]", item, parse) for index, item in enumerate(items)]
        return tuple(item for item in read if item is not None)

    def parsed(self, where: str, text: msgspec.Raw, parse: Callable[[str], T]) -> T | None:
        """A JSON string that is parsed as a setting would be; None and a problem if it cannot be."""
        content = self.value(where, text, str, "expected a string")
        return None if content is None else self._parse(where, content, parse)

    def secret(
        self, where: str, text: msgspec.Raw, parse: Callable[[str], Secret] = values.secret
    ) -> Secret | None:
        """A secret, or a reference ``$NAME`` to one."""
        content = self.value(where, text, str, "expected a string")
        if content is None or not content.startswith("$"):
            return None if content is None else self._parse(where, content, parse)
        match = _REFERENCE.fullmatch(content)
        if match is None:
            self.wrong(where, "begins with $ but is no reference: $ and a name in capital letters")
            return None
        name = match[1] or match[2]
        found = self.variables.get(name)
        if not found:
            self.wrong(where, f"refers to ${name}, which is not set")
            return None
        return self._parse(where, found.reveal(), parse)

    def _parse(self, where: str, content: str, parse: Callable[[str], T]) -> T | None:
        try:
            return parse(content)
        except InvalidValueError as mistake:
            self.wrong(where, str(mistake))
            return None


def shown(name: str) -> str:
    """A field's name as a message may show it: a stranger's text could be a misplaced secret."""
    return name if _SHOWN_FIELD.fullmatch(name) else "a field with an unusual name"
