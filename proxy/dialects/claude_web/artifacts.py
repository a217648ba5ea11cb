"""An artifact as a fenced code block, which is what a client that knows no artifacts can show."""

import re
from typing import Final

import msgspec

_TOOLS: Final = ("artifacts", "create_file")
_BY_TYPE: Final = {
    "text/html": "html",
    "image/svg+xml": "svg",
    "text/markdown": "markdown",
    "application/vnd.ant.react": "jsx",
    "application/vnd.ant.mermaid": "mermaid",
}
_TICKS: Final = re.compile(r"`{3,}")
_LANGUAGE: Final = re.compile(r"[A-Za-z0-9+#._-]{1,40}")


class _Input(msgspec.Struct):
    id: str | None = None
    path: str | None = None
    type: str | None = None
    language: str | None = None
    content: str | None = None
    file_text: str | None = None
    old_str: str | None = None
    new_str: str | None = None


_decoder = msgspec.json.Decoder(_Input)


class Artifacts:
    """The artifacts of one answer. A change of one shows it whole, as it is after the change."""

    def __init__(self) -> None:
        self._contents: dict[str, str] = {}

    @staticmethod
    def made_by(tool: str) -> bool:
        """Whether a call of the site's tool of that name writes one."""
        return tool in _TOOLS

    def shown(self, arguments: str) -> str:
        """The text for a call with these arguments, JSON; empty where they hold no content."""
        try:
            call = _decoder.decode(arguments)
        except (ValueError, RecursionError):
            return ""
        name = call.id or call.path or ""
        content = call.content if call.content is not None else call.file_text
        if content is None and call.new_str is not None:
            content = _changed(self._contents.get(name, ""), call.old_str or "", call.new_str)
        if not content:
            return ""
        self._contents[name] = content
        return _fenced(content, _language(call))


def _changed(before: str, old: str, new: str) -> str:
    """The whole artifact after a change; the new part alone where the old one is not known."""
    return before.replace(old, new, 1) if old and old in before else new


def _language(call: _Input) -> str:
    language = call.language or _BY_TYPE.get(call.type or "", "")
    if not language and call.path:
        language = call.path.rpartition(".")[2] if "." in call.path else ""
    return language if _LANGUAGE.fullmatch(language) else ""


def _fenced(content: str, language: str) -> str:
    fence = "`" * max((len(ticks) + 1 for ticks in _TICKS.findall(content)), default=3)
    return f"\n\n{fence}{language}\n{content.removesuffix(chr(10))}\n{fence}\n"
