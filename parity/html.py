"""The frame of an HTML report: one file without scripts, fonts or pictures from elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from importlib import resources

VERDICTS = {
    "equal": ("✓", "EQUAL"),
    "different": ("✗", "DIFFERENT"),
    "error": ("!", "NOT COMPARED"),
}


def page(
    title: str, verdict: str, summary: str, facts: Sequence[tuple[str, str]], body: Iterable[str]
) -> str:
    """A whole page.

    Args:
        title: of the page.
        verdict: ``equal``, ``different`` or ``error``.
        summary: the finding in a sentence or a paragraph.
        facts: names and values shown at the top.
        body: sections, HTML.
    """
    mark, word = VERDICTS[verdict]
    style = resources.files("parity").joinpath("report.css").read_text(encoding="utf-8")
    listed = "".join(f"<div><dt>{escape(k)}</dt><dd>{escape(v)}</dd></div>" for k, v in facts)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{word}: {escape(title)}</title><style>{style}</style></head>\n<body>"
        f'<header class="{verdict}"><p id="verdict" data-verdict="{verdict}"><b>{mark}</b> {word}</p>'
        f"<h1>{escape(title)}</h1><p class=summary>{escape(summary)}</p></header>\n"
        f"<main><dl class=facts>{listed}</dl>\n" + "\n".join(body) + "\n</main></body></html>\n"
    )


def section(title: str, *content: str, note: str = "") -> str:
    """A section; nothing at all without content."""
    if not any(content):
        return ""
    explained = f"<p class=note>{escape(note)}</p>" if note else ""
    return f"<section><h2>{escape(title)}</h2>{explained}{''.join(content)}</section>"


def figure(source: str, caption: str, *, pixelated: bool = False, remark: str = "", bad: bool = False) -> str:
    """A picture with its caption."""
    kind = ' class="pixelated"' if pixelated else ""
    below = f"<small{' class=bad' if bad else ''}>{escape(remark)}</small>" if remark else ""
    return (
        f'<figure><img{kind} src="{source}" alt="{escape(caption)}"><figcaption>{escape(caption)}{below}'
        "</figcaption></figure>"
    )


def chart(svg: str, caption: str) -> str:
    """A chart with its caption."""
    return f"<figure>{svg}<figcaption>{escape(caption)}</figcaption></figure>"


def gallery(figures: Iterable[str], kind: str = "") -> str:
    """Pictures side by side."""
    return f'<div class="gallery {kind}">{"".join(figures)}</div>'


def table(headings: Sequence[str], rows: Iterable[tuple[bool, Sequence[str]]]) -> str:
    """A table; the first column is text, the others are numbers.

    Args:
        headings: one a column.
        rows: whether the row passed, and its cells.
    """
    head = "".join(f"<th>{escape(heading)}</th>" for heading in headings)
    lines = []
    for passed, cells in rows:
        kind = "" if passed else " class=bad"
        lines.append(f"<tr{kind}>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>")
    head = f"<thead><tr>{head}</tr></thead>"
    return f'<div class="scroll"><table>{head}<tbody>{"".join(lines)}</tbody></table></div>'


def checks(found: Iterable[tuple[bool, str, str]]) -> str:
    """A list of what was required: passed or not, what, and what was found."""
    lines = [
        f'<li class="{"good" if passed else "bad"}"><b>{"✓" if passed else "✗"}</b>'
        f"<span><strong>{escape(name)}</strong> {escape(text)}</span></li>"
        for passed, name, text in found
    ]
    return f"<ul class=checks>{''.join(lines)}</ul>" if lines else ""


def legend(entries: Iterable[tuple[tuple[int, ...], str]]) -> str:
    """Colours and what they mean."""
    items = [
        f'<span><i style="background:rgb({red},{green},{blue})"></i>{escape(name)}</span>'
        for (red, green, blue), name in entries
    ]
    return f"<p class=legend>{''.join(items)}</p>"


def folded(summary: str, content: str) -> str:
    """Content that is shown on a click."""
    return f"<details><summary>{escape(summary)}</summary>{content}</details>"
