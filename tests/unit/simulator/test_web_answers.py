"""What the simulated claude.ai says."""

from proxy.simulator.web_answers import compose
from proxy.simulator.web_ledger import Conversation, StoredFile
from proxy.simulator.web_render import WebPart, WebText, WebThought, WebTool
from proxy.simulator.web_wire import AttachedText, CompletionBody

_PLACE = Conversation(uuid="c", organization="o", created_by="k", created_s=0.0)
_FILE = StoredFile(
    uuid="f", name="a.png", media_type="image/png", size_bytes=5, organization="o", uploaded_by="k"
)


def _said(parts: list[WebPart]) -> str:
    return "".join(piece for part in parts if isinstance(part, WebText) for piece in part.pieces)


def _compose(
    prompt: str, *, files: tuple[StoredFile, ...] = (), events: int | None = None, text: str | None = None
) -> list[WebPart]:
    attached = [AttachedText("context.txt", "text/plain", 2, "é")] if files else []
    asked = CompletionBody(prompt=prompt, attachments=attached, thinking_mode="extended" if text else "off")
    return compose(asked, _PLACE, files, prefix="[x] ", events=events, text=text)


def test_an_echo_names_everything_that_came() -> None:
    """Protects tests of attachments and uploads."""
    said = _said(_compose("look", files=(_FILE,)))
    assert said == '[x] You said: "look" (attachment context.txt 2 bytes; file a.png image/png 5 bytes)'


def test_a_long_prompt_is_not_all_repeated() -> None:
    """Protects tests from answers as long as their questions."""
    assert len(_said(_compose("x" * 5000))) < 1100


def test_a_given_text_replaces_the_echo_and_can_be_cut_into_pieces() -> None:
    """Protects tests that need to know the answer."""
    parts = _compose("artifact", text="one two three", events=2)
    assert [type(part) for part in parts] == [WebThought, WebText]
    assert _said(parts) == "[x] one "


def test_words_in_the_prompt_make_the_site_use_its_tools() -> None:
    """Protects tests of artifacts and searches."""
    kinds = [part.name if isinstance(part, WebTool) else "text" for part in _compose("Artifact, web search")]
    assert kinds == ["web_search", "text", "artifacts"]
