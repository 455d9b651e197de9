"""One self-contained HTML page of text, tables and figures; and the same numbers as plain JSON.

Nothing in the page asks for anything: figures are `data:` URIs, the style is inline, and there is
no script.
"""

import base64
import dataclasses
import html
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tempo.analysis.page_style import STYLE


@dataclasses.dataclass(frozen=True)
class Text:
    """A paragraph; `command` is shown below it as something to type."""

    text: str
    command: str = ""


@dataclasses.dataclass(frozen=True)
class Warn:
    """A paragraph that a reader must not miss."""

    text: str


@dataclasses.dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
      key: of the value in a row.
      label: its heading.
      kind: row of `FORMATS`.
    """

    key: str
    label: str
    kind: str = "text"


@dataclasses.dataclass(frozen=True)
class Table:
    """Rows of plain values; a value that is missing or NaN is shown as a dash.

    Attributes:
      key: its name in the JSON.
      columns: shown.
      rows: by the columns' keys.
      caption: above it.
    """

    key: str
    columns: Sequence[Column]
    rows: Sequence[Mapping[str, Any]]
    caption: str = ""


@dataclasses.dataclass(frozen=True)
class Figure:
    """A picture.

    Attributes:
      name: of its files.
      svg: what the page shows.
      png: what lies beside it for other uses.
      alt: what it shows, for those who do not see it.
      caption: what it is of: protocol and number of videos.
    """

    name: str
    svg: str
    png: bytes
    alt: str
    caption: str


_TALL_ROWS = 30
"""Tables of more rows scroll inside the page."""

_DASH, _MINUS = "\u2013", "\u2212"

Block = Text | Warn | Table | Figure


@dataclasses.dataclass(frozen=True)
class Section:
    """A part of the page.

    Attributes:
      key: its anchor, and its name in the JSON.
      title: its heading.
      blocks: what it shows.
      numbers: what the JSON says of it, besides its tables.
      is_missing: whether its scores are missing, so that it only says how to make them.
    """

    key: str
    title: str
    blocks: Sequence[Block]
    numbers: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    is_missing: bool = False

    @property
    def figures(self) -> list[Figure]:
        """Its pictures."""
        return [block for block in self.blocks if isinstance(block, Figure)]

    def as_json(self) -> dict[str, Any]:
        """Every number it shows, and its captions, as plain values; NaN becomes None."""
        tables = {block.key: block.rows for block in self.blocks if isinstance(block, Table)}
        return plain(
            {
                "title": self.title,
                "is_missing": self.is_missing,
                **self.numbers,
                **({"tables": tables} if tables else {}),
                "figures": {figure.name: figure.caption for figure in self.figures},
                "notes": [b.text for b in self.blocks if isinstance(b, Text | Warn)],
            }
        )


def plain(value: Any) -> Any:
    """Arrays, tuples and numpy numbers as what JSON has; what is not finite as None."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def share(value: float) -> str:
    """0.873 -> 87.3 %."""
    return _DASH if math.isnan(value) else f"{100 * value:.1f} %"


def points(value: float) -> str:
    """A difference of shares in percentage points with its sign: 0.021 -> +2.1."""
    return _DASH if math.isnan(value) else f"{100 * value:+.1f}".replace("-", _MINUS)


def number(value: float) -> str:
    """Three digits after the point at most, fewer for large numbers."""
    if math.isnan(value):
        return _DASH
    digits = 3 if abs(value) < 1 else 2 if abs(value) < 100 else 0
    return f"{value:.{digits}f}".replace("-", _MINUS)


def between(low: float, high: float, kind: str) -> str:
    """An interval in the format of its value."""
    if math.isnan(low) or math.isnan(high):
        return _DASH
    return f"{FORMATS[kind](low).removesuffix(' %')} to {FORMATS[kind](high)}"


FORMATS = {
    "text": str,
    "code": str,
    "long": str,
    "count": lambda value: f"{value:,}".replace(",", "\u202f"),
    "share": share,
    "points": points,
    "number": number,
    "interval_share": lambda ends: between(*ends, "share"),
    "interval_points": lambda ends: between(*ends, "points"),
    "interval_number": lambda ends: between(*ends, "number"),
}
"""How a value of a column is written: shares, 0 to 1 in the JSON, are percents on the page."""


def render(title: str, lead: str, sections: Sequence[Section]) -> str:
    """The page.

    Args:
      title: of the page.
      lead: what the report is of, in a sentence.
      sections: in their order.
    """
    links = "".join(
        f'<li><a href="#{s.key}"{_missing_class(s)}>{_text(s.title)}</a></li>' for s in sections
    )
    body = "\n".join(_section(s) for s in sections)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<link rel="icon" href="data:,">
<title>{_text(title)}</title>
<style>
{STYLE}</style>
</head>
<body>
<header>
<h1>{_text(title)}</h1>
<p class="lead">{_text(lead)}</p>
<nav aria-label="Sections"><ol>{links}</ol></nav>
</header>
<main>
{body}
</main>
</body>
</html>
"""


def _missing_class(section: Section) -> str:
    return ' class="missing"' if section.is_missing else ""


def _section(section: Section) -> str:
    blocks = "\n".join(_RENDERERS[type(block)](block) for block in section.blocks)
    return (
        f'<section id="{section.key}"{_missing_class(section)}>\n<h2>{_text(section.title)}</h2>\n'
        f"{blocks}\n</section>"
    )


def _paragraph(block: Text) -> str:
    lines = block.command.replace(" --", " \\\n    --")  # still one command for a shell
    command = f"\n<pre><code>{_text(lines)}</code></pre>" if lines else ""
    return f"<p>{_text(block.text)}</p>{command}"


def _warning(block: Warn) -> str:
    return f'<p class="warn" role="note">{_text(block.text)}</p>'


def _table(block: Table) -> str:
    heads = "".join(f'<th scope="col"{_align(c)}>{_text(c.label)}</th>' for c in block.columns)
    rows = "\n".join(
        f"<tr>{''.join(_cell(column, row) for column in block.columns)}</tr>" for row in block.rows
    )
    caption = f"<caption>{_text(block.caption)}</caption>" if block.caption else ""
    size = "scroll tall" if len(block.rows) > _TALL_ROWS else "scroll"
    label = html.escape(block.caption or block.key, quote=True)
    return (
        f'<div class="{size}" role="region" tabindex="0" aria-label="{label}"><table>{caption}'
        f"<thead><tr>{heads}</tr></thead>\n<tbody>\n{rows}\n</tbody></table></div>"
    )


def _cell(column: Column, row: Mapping[str, Any]) -> str:
    value = row.get(column.key)
    shown = _DASH if value is None else _text(FORMATS[column.kind](value))
    if column.kind == "code":
        shown = f"<code>{shown}</code>"
    return f"<td{_align(column)}>{shown}</td>"


def _align(column: Column) -> str:
    classes = {"text": "", "code": "", "long": "long"}
    name = classes.get(column.kind, "interval" if column.kind.startswith("interval") else "number")
    return f' class="{name}"' if name else ""


def _figure(block: Figure) -> str:
    source = base64.b64encode(block.svg.encode()).decode()
    return (
        f'<figure id="figure-{block.name}"><div class="scroll" role="region" tabindex="0" '
        f'aria-label="Figure: {html.escape(block.name, quote=True)}">'
        f'<img src="data:image/svg+xml;base64,{source}" alt="{html.escape(block.alt, quote=True)}">'
        f"</div>\n<figcaption>{_text(block.caption)}</figcaption></figure>"
    )


def _text(text: str) -> str:
    return html.escape(text, quote=False)


_RENDERERS = {Text: _paragraph, Warn: _warning, Table: _table, Figure: _figure}
