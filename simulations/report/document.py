"""The page: everything in one file, and nothing fetched from anywhere."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from itertools import chain

from ..timeline import Moment, Span, Timeline, Verdict
from .scene import scene
from .script import SCRIPT, data
from .style import css
from .svg import SvgCanvas
from .words import duration, figure, listing, tone, verdict

_WIDTHS = (("s", 358.0), ("m", 680.0), ("l", 1120.0))
_SHOWN = 8  # rows of a table before it is folded
_ROWS_MAX = 300

_ICONS = {
    "held": '<svg class="icon" viewBox="0 0 20 20" role="img" aria-label="held">'
    '<path d="M4 10.5l4 4 8-9"/></svg>',
    "broke": '<svg class="icon" viewBox="0 0 20 20" role="img" aria-label="did not hold">'
    '<path d="M5 5l10 10M15 5L5 15"/></svg>',
    "open": '<svg class="icon" viewBox="0 0 20 20" role="img" aria-label="not known">'
    '<path d="M5 10h10"/></svg>',
}

_WORDS = (
    (
        "Settled",
        (
            "A commit is settled once nothing can arrive before it any more and a majority of the "
            "nodes holds it on disk. From then on its place and outcome are final everywhere."
        ),
    ),
    (
        "Tentative",
        (
            "Durable and readable, but an earlier commit may still arrive before it. What a site "
            "writes while it is cut off stays tentative until its links are back."
        ),
    ),
    (
        "Lag of the watermark",
        (
            "All that is older than the watermark is settled; the lag is how far it is behind now. "
            "It grows while a node waits to hear from another, and writing goes on meanwhile."
        ),
    ),
    (
        "Conflict",
        (
            "Two appends expected the same revision of a stream. One wins, the same one at every "
            "node; the other is rejected, or kept and marked if it asked for that."
        ),
    ),
)


def page(timeline: Timeline) -> str:
    """The report of a run as one HTML page."""
    title = escape(timeline.title)
    parts = [_head(timeline), _course(timeline), _faults(timeline), _checks(timeline)]
    parts += [_spreads(timeline), _happened(timeline), _reading()]
    body = "".join(chain.from_iterable(parts))
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f'<title>{title}</title><link rel="icon" href="data:,"><style>{css()}</style></head>'
        f"<body><main>{body}</main>"
        f'<script type="application/json" id="run">{data(timeline)}</script>'
        f"<script>{SCRIPT}</script></body></html>\n"
    )


# -- the head ------------------------------------------------------------------------------------


def _head(timeline: Timeline) -> Iterator[str]:
    said = tone(timeline)
    yield f"<header><h1>{escape(timeline.title)}</h1>"
    yield f'<p class="verdict {said}">{_ICONS[said]}<span>{_whole_times(verdict(timeline))}'
    yield "</span></p>"
    for paragraph in timeline.why.strip().split("\n\n"):
        if paragraph.strip():
            yield f"<p>{escape(' '.join(paragraph.split()))}</p>"
    yield f'<dl class="figures">{"".join(_figures(timeline))}</dl>'
    yield '<dl class="replay">'
    if timeline.trace:
        yield f"<dt>Trace</dt><dd><code>{escape(timeline.trace)}</code></dd>"
    if "replay" in timeline.totals:
        again = escape(str(timeline.totals["replay"]))
        yield f"<dt>Replay</dt><dd><code>{again}</code></dd>"
    yield "</dl></header>"


def _figures(timeline: Timeline) -> Iterator[str]:
    found = [figure(key, value) for key, value in timeline.totals.items() if key != "replay"]
    if timeline.whole_at is None:
        found.append(("whole again after the last fault", "not seen"))
    else:
        after = max(0.0, timeline.whole_at - timeline.over_at)
        found.append(("whole again after the last fault", duration(after)))
    found.append(("seed", str(timeline.seed)))
    for name, value in found:
        long = ' class="long"' if len(value) > 12 else ""
        yield f"<div><dt>{escape(name)}</dt><dd{long}>{escape(value)}</dd></div>"


def _whole_times(words: str) -> str:
    """Escaped, and no line ends between a number and its unit."""
    return re.sub(r"(?<=\d) (?=(?:ms|s|min|h|d)\b)", "&nbsp;", escape(words))


# -- the timeline --------------------------------------------------------------------------------


def _course(timeline: Timeline) -> Iterator[str]:
    if not timeline.times:
        yield "<section><h2>What happened</h2><p>Nothing was written down.</p></section>"
        return
    drawings = "".join(
        f'<div class="course {size}">{_drawing(timeline, size, width)}</div>'
        for size, width in _WIDTHS
    )
    yield (
        "<section><h2>What happened</h2><figure>"
        f'{drawings}<div class="readout" hidden><label for="moment">A moment of the run: point at '
        'the drawing, or move this</label><input id="moment" type="range" min="0" value="0">'
        "<output></output></div></figure></section>"
    )


def _drawing(timeline: Timeline, name: str, width: float) -> str:
    drawn, canvas = scene(timeline, width), SvgCanvas(name)
    drawn.draw(canvas)
    sites = listing([site for site, _ in timeline.sites])
    label = f"Timeline of {duration(timeline.length)} at {sites}. {verdict(timeline)}"
    edges = f'data-left="{drawn.frame.left:g}" data-right="{drawn.frame.right:g}"'
    return canvas.document(drawn.width, drawn.height, label, edges)


# -- tables --------------------------------------------------------------------------------------


def _faults(timeline: Timeline) -> Iterator[str]:
    if timeline.faults:
        rows = [(duration(fault.begins), _lasted(fault), fault.label) for fault in timeline.faults]
        yield "<section><h2>What went wrong</h2>"
        yield _table("Faults", ("at", "lasted", "what"), rows)
        yield "</section>"


def _spreads(timeline: Timeline) -> Iterator[str]:
    """How often what took how long, as bars."""
    if not timeline.spreads:
        return
    yield '<section><h2>How long it took</h2><div class="pair">'
    for title, rows in timeline.spreads.items():
        most = max((many for _, many in rows), default=0) or 1
        bars = "".join(
            f'<tr><td>{escape(name)}</td><td><span class="bar" style="width:'
            f'{80 * many / most:.1f}%"></span>{many:,}</td></tr>'
            for name, many in rows
        )
        yield f'<div><h3>{escape(title)}</h3><table class="bars">{bars}</table></div>'
    yield "</div></section>"


def _happened(timeline: Timeline) -> Iterator[str]:
    notes = [note for note in timeline.notes if not note.label.startswith("-- ")]
    for name, moments in (("Conflicts", timeline.conflicts), ("Notes", notes)):
        if moments:
            yield f"<section><h2>{name}</h2>{_moments(name, moments)}</section>"


def _moments(name: str, moments: Iterable[Moment]) -> str:
    found = sorted(moments, key=lambda moment: moment.at)
    if any(moment.node for moment in found):
        rows = [(duration(moment.at), moment.node, moment.label) for moment in found]
        return _table(name, ("at", "node", "what"), rows)
    return _table(name, ("at", "what"), [(duration(moment.at), moment.label) for moment in found])


def _lasted(span: Span) -> str:
    return duration(span.ends - span.begins)


def _table(caption: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Folded when it is long."""
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in heads)
    body = "".join(
        f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>"
        for row in rows[:_ROWS_MAX]
    )
    table = f"<table><caption>{caption}</caption><tr>{head}</tr>{body}</table>"
    table = f'<div class="scroll">{table}</div>'
    if len(rows) > _ROWS_MAX:
        table += f'<p class="small">and {len(rows) - _ROWS_MAX:,} more.</p>'
    if len(rows) <= _SHOWN:
        return table
    return f"<details><summary>All {len(rows):,} of them</summary>{table}</details>"


def _checks(timeline: Timeline) -> Iterator[str]:
    parts = (
        ("What was expected", timeline.expected),
        ("What always has to hold", timeline.checked),
    )
    if any(verdicts for _, verdicts in parts):
        yield '<div class="pair">'
        for name, verdicts in parts:
            if verdicts:
                lines = "".join(_check(one) for one in sorted(verdicts, key=lambda v: v.held))
                yield f'<section><h2>{name}</h2><ul class="checks">{lines}</ul></section>'
        yield "</div>"


def _check(one: Verdict) -> str:
    said = "held" if one.held else "broke"
    detail = f'<span class="small">{escape(one.detail)}</span>' if one.detail else ""
    return f'<li class="{said}">{_ICONS[said]}<span>{escape(one.label)}</span>{detail}</li>'


def _reading() -> Iterator[str]:
    words = "".join(f"<div><h3>{name}</h3><p>{text}</p></div>" for name, text in _WORDS)
    yield f'<section><h2>How to read this page</h2><div class="words">{words}</div></section>'
