"""The read QC report as one HTML page: no scripts, nothing loaded from elsewhere."""

from collections.abc import Callable, Mapping, Sequence
from html import escape
from string import Template
from typing import Any, Final

WIDTH: Final = 460
HEIGHT: Final = 190
LEFT: Final = 40
RIGHT: Final = 10
TOP: Final = 10
BOTTOM: Final = 30
BASE_COLOURS: Final = {
    "A": "#2a9d8f",
    "C": "#3a6ea5",
    "G": "#d98e04",
    "T": "#c8553d",
    "N": "#8d99ae",
}
MATES: Final = ("R1", "R2")

_PAGE: Final = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Read QC: $sample</title>
<style>
:root { color-scheme: light; --ink: #1d2b33; --soft: #5c6f7b; --line: #dde5ea; --bg: #f6f8f9; }
* { box-sizing: border-box; }
body { margin: 0; background: var(--bg); color: var(--ink);
       font: 15px/1.5 system-ui, -apple-system, "Segoe UI", sans-serif; }
main { max-width: 1040px; margin: 0 auto; padding: 32px 20px 48px; }
h1 { font-size: 26px; margin: 0 0 4px; }
.sub { color: var(--soft); margin: 0 0 24px; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 12px; }
.card { background: #fff; border: 1px solid var(--line); border-radius: 8px; padding: 12px 16px; }
.card b { display: block; font-size: 22px; font-weight: 600; font-variant-numeric: tabular-nums; }
.card span { color: var(--soft); font-size: 13px; }
h2 { font-size: 17px; margin: 32px 0 10px; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(420px, 1fr)); gap: 12px; }
figure { margin: 0; background: #fff; border: 1px solid var(--line); border-radius: 8px;
         padding: 12px; }
figcaption { font-weight: 600; font-size: 14px; margin-bottom: 4px; }
svg { width: 100%; height: auto; display: block; }
svg text { font: 11px system-ui, sans-serif; fill: var(--soft); }
table { border-collapse: collapse; width: 100%; background: #fff; border: 1px solid var(--line);
        border-radius: 8px; }
th, td { text-align: right; padding: 6px 14px; border-top: 1px solid var(--line);
         font-variant-numeric: tabular-nums; }
th:first-child, td:first-child { text-align: left; }
thead th { border-top: 0; color: var(--soft); font-weight: 600; }
code { font-size: 12px; overflow-wrap: anywhere; }
.key { font-size: 12px; color: var(--soft); }
.key i { display: inline-block; width: 10px; height: 10px; border-radius: 2px;
         margin: 0 4px 0 10px; }
</style>
</head>
<body>
<main>
<h1>Read QC: $sample</h1>
<p class="sub">Site $site. Pipeline $pipeline, version $version. Run <code>$run_id</code>.</p>
<section class="cards">$cards</section>
<h2>Quality per cycle</h2>
<section class="plots">$quality</section>
<h2>Base composition per cycle</h2>
<section class="plots">$composition</section>
<h2>Reads by mean quality and by GC content</h2>
<section class="plots">$histograms</section>
<h2>Mates</h2>
$table
<h2>Inputs</h2>
$inputs
</main>
</body>
</html>
""")


def render_html(report: Mapping[str, Any]) -> str:
    """Return the page for a report as `run_read_qc` writes it."""
    mates = report["mates"]
    return _PAGE.substitute(
        sample=escape(report["sample"]),
        site=escape(report["site"]),
        pipeline=escape(report["pipeline"]),
        version=escape(report["pipeline_version"]),
        run_id=escape(report["run_id"]),
        cards=_cards(report),
        quality="".join(_quality_plot(mate, mates[mate]) for mate in MATES),
        composition="".join(_composition_plot(mate, mates[mate]) for mate in MATES),
        histograms=_histogram_plot("Reads by mean quality (Phred)", mates, "quality_histogram", 45)
        + _histogram_plot("Reads by GC content (%)", mates, "gc_histogram", 100),
        table=_table(mates),
        inputs=_inputs(report["inputs"]),
    )


def _cards(report: Mapping[str, Any]) -> str:
    r1, r2 = (report["mates"][mate] for mate in MATES)
    bases = r1["bases"] + r2["bases"]
    q30 = (r1["q30_fraction"] * r1["bases"] + r2["q30_fraction"] * r2["bases"]) / max(bases, 1)
    facts = [
        (f"{report['pairs']:,}", "read pairs"),
        (f"{bases:,}", "bases in both mates"),
        (f"{q30:.1%}", "bases at Q30 or better"),
        (f"{report['both_q30_fraction']:.1%}", "pairs with both means ≥ Q30"),
        (f"{(r1['gc_fraction'] + r2['gc_fraction']) / 2:.1%}", "GC"),
    ]
    return "".join(
        f'<div class="card"><b>{value}</b><span>{name}</span></div>' for value, name in facts
    )


def _quality_plot(mate: str, data: Mapping[str, Any]) -> str:
    cycles, top = data["cycles_measured"], 42
    low = [min(score, top) for score in data["quality_lower_quartile"]]
    high = [min(score, top) for score in data["quality_upper_quartile"]]
    median = [min(score, top) for score in data["quality_median"]]
    upper = _points(high, cycles, top)
    lower = _points(low, cycles, top)
    band = f'<polygon points="{" ".join(upper + lower[::-1])}" fill="#3a6ea5" opacity="0.22"/>'
    line = _line(_points(median, cycles, top), "#3a6ea5")
    key = '<i style="background:#3a6ea5"></i>median, band: quartiles'
    return _figure(f"{mate}: Phred score", cycles, top, [10, 20, 30, 40], band + line, key=key)


def _composition_plot(mate: str, data: Mapping[str, Any]) -> str:
    cycles = data["cycles_measured"]
    fractions = data["base_fractions"]
    highest = max((max(values, default=0) for values in fractions.values()), default=0)
    top = 50 if highest <= 0.5 else 100
    lines = "".join(
        _line(_points([100 * f for f in fractions[base]], cycles, top), colour)
        for base, colour in BASE_COLOURS.items()
    )
    key = "".join(f'<i style="background:{c}"></i>{base}' for base, c in BASE_COLOURS.items())
    ticks = list(range(top // 5, top + 1, top // 5))
    return _figure(f"{mate}: percent of bases", cycles, top, ticks, lines, key=key)


def _histogram_plot(title: str, mates: Mapping[str, Any], name: str, bins: int) -> str:
    series = {mate: _as_percent(mates[mate][name])[: bins + 1] for mate in MATES}
    highest = max(max(values) for values in series.values())
    top = max(5, -(-int(highest + 1) // 5) * 5)
    colours = {"R1": "#3a6ea5", "R2": "#d98e04"}
    lines = "".join(
        _line(_points(values, bins + 1, top), colours[mate]) for mate, values in series.items()
    )
    key = "".join(f'<i style="background:{colours[mate]}"></i>{mate}' for mate in MATES)
    ticks = [top // 5 * step for step in range(1, 6)]
    return _figure(f"{title}, percent of reads", bins, top, ticks, lines, key=key, first=0)


def _figure(  # noqa: PLR0913
    title: str,
    last: int,
    top: float,
    ticks: Sequence[int],
    marks: str,
    *,
    key: str,
    first: int = 1,
) -> str:
    grid = "".join(
        f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{_y(t, top):.1f}" y2="{_y(t, top):.1f}"'
        f' stroke="#e8eef2"/><text x="{LEFT - 6}" y="{_y(t, top) + 4:.1f}"'
        f' text-anchor="end">{t}</text>'
        for t in ticks
    )
    base = HEIGHT - BOTTOM
    axis = (
        f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{base}" y2="{base}" stroke="#9fb0ba"/>'
        f'<text x="{LEFT}" y="{base + 16}">{first}</text>'
        f'<text x="{WIDTH - RIGHT}" y="{base + 16}" text-anchor="end">{last}</text>'
    )
    return (
        f"<figure><figcaption>{escape(title)}</figcaption>"
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">'
        f'{grid}{axis}{marks}</svg><div class="key">{key}</div></figure>'
    )


def _points(values: Sequence[float], count: int, top: float) -> list[str]:
    span = max(count - 1, 1)
    width = WIDTH - LEFT - RIGHT
    return [f"{LEFT + width * i / span:.1f},{_y(v, top):.1f}" for i, v in enumerate(values)]


def _y(value: float, top: float) -> float:
    return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / top


def _line(points: Sequence[str], colour: str) -> str:
    return (
        f'<polyline points="{" ".join(points)}" fill="none" stroke="{colour}" stroke-width="1.8"'
        ' stroke-linejoin="round"/>'
    )


def _as_percent(counts: Sequence[int]) -> list[float]:
    total = sum(counts) or 1
    return [100 * count / total for count in counts]


def _table(mates: Mapping[str, Any]) -> str:
    rows: list[tuple[str, Callable[[Mapping[str, Any]], str]]] = [
        ("Reads", lambda m: f"{m['reads']:,}"),
        ("Bases", lambda m: f"{m['bases']:,}"),
        ("Length", _length),
        ("Q20", lambda m: f"{m['q20_fraction']:.2%}"),
        ("Q30", lambda m: f"{m['q30_fraction']:.2%}"),
        ("GC", lambda m: f"{m['gc_fraction']:.2%}"),
    ]
    body = "".join(
        f"<tr><td>{name}</td>{''.join(f'<td>{show(mates[mate])}</td>' for mate in MATES)}</tr>"
        for name, show in rows
    )
    return f"<table><thead><tr><th></th><th>R1</th><th>R2</th></tr></thead>{body}</table>"


def _length(mate: Mapping[str, Any]) -> str:
    low, high = mate["min_length"], mate["max_length"]
    return f"{low}" if low == high else f"{low} to {high}"


def _inputs(inputs: Mapping[str, Any]) -> str:
    rows = "".join(
        f"<tr><td>{escape(mate)}</td><td><code>{escape(source['object_id'])}</code></td>"
        f"<td><code>{escape(source['sha256'])}</code></td></tr>"
        for mate, source in sorted(inputs.items())
    )
    head = "<thead><tr><th>Mate</th><th>Object</th><th>SHA-256</th></tr></thead>"
    return f"<table>{head}{rows}</table>"
