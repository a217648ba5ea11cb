"""From layers of text to one value a setting."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeVar, cast

from proxy.settings.problems import InvalidValueError
from proxy.settings.setting import Setting
from proxy.settings.sources import Findings, Layer, read_text, warn_if_readable

T = TypeVar("T")
_FILE = "_FILE"


class Resolver:
    """Finds each setting's text in the strongest layer that has one, and parses it.

    Mistakes are collected in `findings`; a setting that has one keeps its default, so that the others are
    still looked at.

    Attributes:
        names: every name of every setting.
    """

    def __init__(
        self,
        layers: Sequence[Layer],
        settings: Iterable[Setting[object]],
        working_dir: Path,
        findings: Findings,
    ) -> None:
        self._layers = layers
        self._working_dir = working_dir
        self._findings = findings
        self.names = frozenset(name for setting in settings for name in setting.names)
        self._values: dict[str, object] = {}
        self._given: set[str] = set()

    def get(self, setting: Setting[T]) -> T:
        """The setting's value; its default if nothing or nothing usable is set."""
        if setting.name not in self._values:
            self._values[setting.name] = self._find(setting)
        return cast(T, self._values[setting.name])

    def given(self, setting: Setting[object]) -> bool:
        """Whether the operator set it, be it wrongly."""
        self.get(setting)
        return setting.name in self._given

    def file_name_of(self, setting: Setting[object], name: str) -> str | None:
        """The name that reads `name` from a file, if there is one: a setting's own name comes first."""
        file_name = name + _FILE
        return file_name if setting.secret and file_name not in self.names else None

    def _find(self, setting: Setting[object]) -> object:
        if setting.joins:
            return self._joined(setting)
        for layer in self._layers:
            found = [pair for name in setting.names if (pair := self._in_layer(setting, name, layer))]
            if found:
                return self._agreed(setting, found)
        return setting.default

    def _joined(self, setting: Setting[object]) -> object:
        items: dict[object, None] = {}
        for name in setting.names:
            for layer in self._layers:
                if pair := self._in_layer(setting, name, layer):
                    value = self._parsed(setting, *pair)
                    items.update(dict.fromkeys(cast(tuple[object, ...], value)))
                    break
        return tuple(items) or setting.default

    def _agreed(self, setting: Setting[object], found: Sequence[tuple[str, str]]) -> object:
        read = [self._parsed(setting, name, text) for name, text in found]
        if any(value != read[0] for value in read[1:]):
            names = " and ".join(name for name, _ in found)
            self._findings.wrong(setting.name, f"{names} are one setting and have different values")
            return setting.default
        return read[0]

    def _parsed(self, setting: Setting[object], name: str, text: str) -> object:
        try:
            return setting.parse(text)
        except InvalidValueError as mistake:
            self._findings.wrong(name, str(mistake))
            return setting.default

    def _in_layer(self, setting: Setting[object], name: str, layer: Layer) -> tuple[str, str] | None:
        text = layer.texts.get(name)
        file_name = self.file_name_of(setting, name)
        path_text = layer.texts.get(file_name, "").strip() if file_name else ""
        if file_name and path_text:
            self._given.add(setting.name)
            if text is not None and text.strip():
                self._findings.wrong(name, f"is set together with {file_name}; only one of them can be used")
                return None
            return self._from_file(setting, file_name, self._working_dir / path_text)
        if text is None or (not text.strip() and not setting.keeps_empty):
            return None
        self._given.add(setting.name)
        if setting.secret and layer.file:
            warn_if_readable(layer.file, self._findings)
        return name, text.strip()

    def _from_file(self, setting: Setting[object], file_name: str, path: Path) -> tuple[str, str] | None:
        text = read_text(path, file_name, self._findings, required=True)
        if text is None:
            return None
        warn_if_readable(path, self._findings)
        content = text.strip()
        # A file of several keys has one a line.
        return file_name, ",".join(content.splitlines()) if isinstance(setting.default, tuple) else content
