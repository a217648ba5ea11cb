"""The drill's results as a page: one file, nothing to load, no script, and everything in it escaped."""

from collections.abc import Mapping, Sequence
from html import escape
from itertools import groupby
from typing import Final

from proxy import __version__
from proxy.commands.console import printable
from proxy.commands.drill.campaign import Result
from proxy.commands.drill.seen import Seen, Way
from proxy.commands.drill.stand_ins import StandIns
from proxy.simulator.faults.told import Spoken

NAMES: Final = {Spoken.CHAT: "Chat Completions", Spoken.MESSAGES: "Messages"}
HEADS: Final = (
    "The upstream",
    *(f"{NAMES[spoken]}, one credential has it" for spoken in Spoken),
    *(f"{NAMES[spoken]}, all have it" for spoken in Spoken),
)
_STYLE: Final = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 90rem; padding: 0 1rem; color: #1d2433; }
table { border-collapse: collapse; width: 100%; margin-bottom: 2rem; }
th, td { text-align: left; vertical-align: top; padding: .35rem .6rem; border-bottom: 1px solid #d7dce5; }
thead th { background: #eef1f6; }
.whole { color: #17663a; } .told { color: #5d4a00; } .wrong { color: #a3142b; font-weight: bold; }
@media (prefers-color-scheme: dark) {
  body { background: #12161f; color: #dde3ee; } th, td { border-color: #333c4d; } thead th { background: #1c2330; }
  .whole { color: #6fd39b; } .told { color: #e2c55b; } .wrong { color: #ff8c9c; }
}
"""


def said(seen: Mapping[Way, Seen], spoken: Spoken) -> list[tuple[str, str]]:
    """What clients of a dialect saw: words and a class of words; both forms in one where they are the same."""
    words = [(way, one.words(), _sort(one)) for way, one in seen.items() if way.spoken is spoken]
    if len({text for _, text, _ in words}) == 1:
        return [words[0][1:]]
    return [(f"{'streamed' if way.stream else 'whole'}: {text}", sort) for way, text, sort in words]


def _sort(seen: Seen) -> str:
    return "wrong" if seen.fault else "whole" if seen.whole else "told"


def columns(result: Result) -> list[list[tuple[str, str]]]:
    """The cells of a result, behind its name."""
    return [said(seen, spoken) for seen in (result.one, result.every) for spoken in Spoken]


def page(results: Sequence[Result], stand_ins: StandIns, day: str) -> str:
    """The whole page. `day` is when the drill was."""
    wrong = sum(result.faults for result in results)
    verdict = (
        "Every client saw a whole answer or a proper error."
        if not wrong
        else f"{wrong} clients saw what they should not."
    )
    aliases = ", ".join(f"{each.name} ({each.kind})" for each in stand_ins.credentials)
    left_out = f"<p>Left out: {_text(', '.join(stand_ins.left_out))}.</p>" if stand_ins.left_out else ""
    chapters = "".join(
        _chapter(title, list(of)) for title, of in groupby(results, key=lambda result: result.case.chapter)
    )
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width">
<title>Carousel: fire drill</title>
<style>{_STYLE}</style>
</head>
<body>
<h1>Fire drill</h1>
<p>Carousel {_text(__version__)}, {_text(day)}. {_text(verdict)}</p>
<p>Stand-ins for: {_text(aliases)}.</p>
{left_out}
{chapters}</body>
</html>
"""


def _chapter(title: str, results: Sequence[Result]) -> str:
    heads = "".join(f'<th scope="col">{_text(head)}</th>' for head in HEADS)
    rows = "".join(map(_row, results))
    return (
        f"<h2>{_text(title)}</h2>\n"
        f"<table>\n<thead><tr>{heads}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table>\n"
    )


def _row(result: Result) -> str:
    cells = "".join(
        "<td>" + "<br>".join(f'<span class="{sort}">{_text(text)}</span>' for text, sort in cell) + "</td>"
        for cell in columns(result)
    )
    return f'<tr><th scope="row">{_text(result.case.name)}</th>{cells}</tr>\n'


def _text(text: str) -> str:
    return escape(printable(text))
