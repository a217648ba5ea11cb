"""The drill's page holds nothing that a browser would run or fetch."""

import re
from html.parser import HTMLParser

from proxy.commands.drill.campaign import Case, Result
from proxy.commands.drill.houses import NO_TROUBLE
from proxy.commands.drill.report import page, said
from proxy.commands.drill.seen import WAYS, Seen, Way
from proxy.commands.drill.stand_ins import StandIns
from proxy.credentials import Credential, Kind
from proxy.simulator.faults.told import Spoken

_EVIL = "<script>alert(1)</script><img src=x onerror=alert(1)>\"'&"
_ALLOWED = {
    *("html", "head", "meta", "title", "style", "body", "h1", "h2", "p"),
    *("table", "thead", "tbody", "tr", "th", "td", "span", "br"),
}


class Tags(HTMLParser):
    """All tags of a page, and the names of their attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """See `HTMLParser.handle_starttag`."""
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}


def evil_page() -> str:
    """A page in which everything that comes from elsewhere is hostile."""
    seen = {way: Seen(502, error=_EVIL, credential=_EVIL, fault=_EVIL) for way in WAYS}
    result = Result(Case(_EVIL, _EVIL, NO_TROUBLE, (False, True)), seen, seen)
    one = Credential(name=_EVIL, kind=Kind.ANTHROPIC, secret=None, base_url="")
    return page([result], StandIns((one,), {}, (_EVIL,)), _EVIL)


def test_whatever_it_is_told_stays_text() -> None:
    """Protects whoever opens the report from what an upstream or a configuration has put into it."""
    tags = Tags()
    tags.feed(evil_page())
    assert tags.tags <= _ALLOWED
    assert not [name for name in tags.attributes if name.startswith("on") or name in {"src", "href"}]


def test_a_browser_is_told_to_fetch_and_run_nothing() -> None:
    """Protects the same where a tag should slip through after all."""
    assert "default-src 'none'" in evil_page()
    assert not re.search(r"url\(|@import|https?://", evil_page())


def test_both_forms_share_their_words_where_they_are_the_same() -> None:
    """Protects the table from saying everything twice."""
    whole, told = Seen(200, credential="a", attempts=1), Seen(502, error="api_error")
    unary, streamed = (Way(Spoken.CHAT, stream) for stream in (False, True))
    assert said({unary: whole, streamed: whole}, Spoken.CHAT) == [("whole answer from a, 1 call", "whole")]
    assert said({unary: whole, streamed: told}, Spoken.CHAT) == [
        ("whole: whole answer from a, 1 call", "whole"),
        ("streamed: 502 api_error", "told"),
    ]
    assert said({}, Spoken.CHAT) == []
