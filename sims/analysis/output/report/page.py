"""The page of the report: everything is inlined once, and nothing is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from importlib import resources
from pathlib import Path

from plotly import graph_objects as go
from plotly.offline import get_plotlyjs

from gossipfl import __version__
from sims.analysis.comparison.analysis import Analysis
from sims.analysis.comparison.findings import findings
from sims.analysis.output.chart import Chart
from sims.analysis.output.charts import charts_of
from sims.analysis.output.report.participants import participants_section
from sims.analysis.output.report.plots import plot_chart, plot_disagreement, plot_layers, plot_network
from sims.analysis.output.report.sections import scenario_section, summary_section, theory_section
from sims.analysis.runs.network import Network, edges_of

__all__ = ["report_page", "write_report"]

_DRAWN_NODES = 2000
_TITLES = (
    ("findings", "Findings"),
    ("curves", "Curves"),
    ("participants", "Participants"),
    ("theory", "Theory"),
    ("networks", "Networks"),
    ("runs", "Runs"),
)


def write_report(analysis: Analysis, file: Path) -> None:
    """Write the report of an analysis.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f".{file.name}.tmp")
    temporary.write_text(report_page(analysis), encoding="utf-8")
    temporary.replace(file)


def report_page(analysis: Analysis) -> str:
    """One HTML document: findings, curves with bands and theory, networks, disagreement, scenarios.

    It contains all scripts, styles and data, so it can be read offline and archived.
    """
    title = _title(analysis)
    figures: dict[str, go.Figure] = {}
    body = "".join(
        f'<section id="{key}"><h2>{heading}</h2>{content}</section>'
        for (key, heading), content in zip(
            _TITLES,
            (
                _findings(analysis),
                _curves(analysis, figures),
                participants_section(analysis),
                theory_section(analysis),
                _networks(analysis, figures),
                summary_section(analysis) + scenario_section(analysis) + _notes(analysis),
            ),
            strict=True,
        )
        if content
    )
    links = "".join(f'<a href="#{key}">{heading}</a>' for key, heading in _TITLES if f'id="{key}"' in body)
    data = "".join(
        f'<script type="application/json" id="{key}">{_inlined(figure.to_json())}</script>'
        for key, figure in figures.items()
    )
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_text('page.css')}</style></head><body><main>"
        f"<header><h1>{escape(title)}</h1><p>{escape(_subtitle(analysis))}</p><nav>{links}</nav></header>"
        f"{body}<footer>Made by <code>gossipfl analyze</code> {escape(__version__)}.</footer></main>"
        f"{data}<script>{get_plotlyjs()}</script><script>{_text('page.js')}</script></body></html>\n"
    )


def _title(analysis: Analysis) -> str:
    names = [group.label for group in analysis.groups]
    return " · ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _subtitle(analysis: Analysis) -> str:
    runs = [measured.run for measured in analysis.runs]
    nodes = sorted({len(run.labels) for run in runs})
    sizes = f"{nodes[0]}" if len(nodes) == 1 else f"{nodes[0]} to {nodes[-1]}"
    kinds = " and ".join(
        sorted({"simulated nodes" if run.source == "simulator" else "real peers" for run in runs})
    )
    target = "" if analysis.target is None else f", target {analysis.target:g}"
    several = "s" if len(runs) > 1 else ""
    return f"{len(runs)} run{several} of task {runs[0].task}, {sizes} {kinds}; {analysis.metric}{target}"


def _findings(analysis: Analysis) -> str:
    items = "".join(f"<li>{escape(sentence)}</li>" for sentence in findings(analysis))
    return f'<div class="card"><ul class="findings">{items}</ul></div>'


def _curves(analysis: Analysis, figures: dict[str, go.Figure]) -> str:
    charts = charts_of(analysis)
    over = [chart for chart in charts if chart.key.startswith(f"{analysis.metric}-over-")]
    until = [chart for chart in charts if chart.key.endswith(f"-to-{analysis.metric}")]
    single = [chart for chart in charts if chart not in over and chart not in until]
    cards = [_tabbed(over, figures)] if over else []
    cards += [_tabbed([chart], figures) for chart in single[:1]]
    cards += [_tabbed(until, figures)] if until else []
    cards += [_tabbed([chart], figures) for chart in single[1:]]
    for index, group in enumerate(analysis.groups):
        first = group.runs[0]
        if len(first.layers) > 1 and not first.run.layers:
            key = f"tensors-{index}"
            figures[key] = plot_layers(first)
            cards.append(_card(f"Consensus distance by tensor: {group.label}", "", _plot(key)))
    return f'<div class="grid">{"".join(cards)}</div>' if cards else ""


def _tabbed(charts: Sequence[Chart], figures: dict[str, go.Figure]) -> str:
    """Charts of which one is shown at a time."""
    for chart in charts:
        figures[chart.key] = plot_chart(chart)
    tabs = ""
    if len(charts) > 1:
        names = [chart.title.split(" over ")[-1].split(" to ")[0] for chart in charts]
        tabs = _buttons([(f"plot-{chart.key}", name) for chart, name in zip(charts, names, strict=True)])
    plots = "".join(_plot(chart.key, hidden=number > 0) for number, chart in enumerate(charts))
    return _card(charts[0].title, charts[0].caption, tabs + plots)


def _buttons(choices: Sequence[tuple[str, str]], *, traces: bool = False) -> str:
    """Buttons that show one of several plots, or one of the traces of one plot."""
    buttons = "".join(
        f'<button type="button" data-plot="{escape(plot)}" aria-selected="{str(not number).lower()}">'
        f"{escape(name)}</button>"
        for number, (plot, name) in enumerate(choices)
    )
    return f'<div class="tabs"{" data-traces" if traces else ""}>{buttons}</div>'


def _networks(analysis: Analysis, figures: dict[str, go.Figure]) -> str:
    cards = _pictures(analysis, figures)
    for index, group in enumerate(analysis.groups):
        first = group.runs[0]
        seed = f", seed {first.run.seed}" if len(group.runs) > 1 else ""
        if first.distances is not None and len(first.distances) > 1:
            key = f"disagreement-{index}"
            figures[key] = plot_disagreement(first)
            caption = f"distance of every two models at the end{seed}"
            orders = _buttons(
                [(f"plot-{key}", name) for name in ("in order", "in spectral order")], traces=True
            )
            cards.append(_card(f"Disagreement: {group.label}", caption, orders + _plot(key)))
    return f'<div class="grid">{"".join(cards)}</div>' if cards else ""


def _pictures(analysis: Analysis, figures: dict[str, go.Figure]) -> list[str]:
    """A picture for each network that there is, coloured by the results of each group on it in turn."""
    found: dict[tuple[str, bytes], list[int]] = {}
    for index, group in enumerate(analysis.groups):
        network = group.runs[0].network
        if network is not None and network.n <= _DRAWN_NODES:
            found.setdefault(_identity(network), []).append(index)
    cards = []
    for (name, _), indices in found.items():
        first = analysis.groups[indices[0]].runs[0]
        for index in indices:
            run = analysis.groups[index].runs[0]
            assert run.network is not None  # noqa: S101 - it is among those found
            figures[f"network-{index}"] = plot_network(run.network, run)
        labels = [(f"plot-network-{index}", analysis.groups[index].label) for index in indices]
        tabs = _buttons(labels) if len(indices) > 1 else ""
        plots = "".join(_plot(f"network-{index}", hidden=number > 0) for number, index in enumerate(indices))
        whose = "" if len(found) == 1 else f": {', '.join(label for _, label in labels)}"
        several = any(len(analysis.groups[index].runs) > 1 for index in indices)
        seed = f", seed {first.run.seed}" if several else ""
        cards.append(_card(f"Who talks to whom{whose}", f"{name}{seed}", tabs + plots))
    return cards


def _identity(network: Network) -> tuple[str, bytes]:
    """The same for networks that look the same."""
    return network.name, f"{network.n}".encode() + edges_of(network).tobytes()


def _notes(analysis: Analysis) -> str:
    if not analysis.notes:
        return ""
    items = "".join(f"<li>{escape(note)}</li>" for note in analysis.notes)
    return f'<h3>Notes</h3><ul class="notes">{items}</ul>'


def _card(heading: str, caption: str, content: str) -> str:
    said = f'<p class="caption">{escape(caption)}</p>' if caption.strip() else ""
    return f'<div class="card"><h3>{escape(heading)}</h3>{said}{content}</div>'


def _plot(key: str, *, hidden: bool = False) -> str:
    name, state = escape(key), " hidden" if hidden else ""
    return f'<div class="plot" id="plot-{name}" data-figure="{name}"{state}></div>'


def _inlined(json: str) -> str:
    """JSON that cannot end the script element it stands in."""
    return json.replace("<", "\\u003c")


def _text(name: str) -> str:
    return resources.files("sims.analysis.output.report").joinpath(name).read_text(encoding="utf-8")
