"""Tables, figures, event files and the page: what they hold, and that they need nothing else."""

import json
import re
import shutil
import struct
import subprocess
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import polars as pl
import pytest

from sims.analysis import Questions, analyse, findings, load_runs
from sims.analysis.errors import MissingLibrary, NotWritable
from sims.analysis.output import outputs as output_module
from sims.analysis.output.charts import charts_of
from sims.analysis.output.figures import draw_chart, write_figures
from sims.analysis.output.outputs import Outputs, write_outputs
from sims.analysis.output.report.page import report_page
from sims.analysis.output.report.sections import theory_section
from sims.analysis.output.tables import (
    curves_table,
    runs_table,
    summary,
    terminal_table,
    theory_table,
    theory_terminal_table,
)
from tests.sims.analysis.made import made, simulated
from topology.drawing import save


@pytest.fixture(scope="module")
def analysis(two_algorithms, tmp_path_factory):
    rounds = simulated(
        tmp_path_factory.mktemp("rounds") / "run",
        "algorithm={name='d_psgd'}",
        "evaluate.layers=true",
        "evaluate.mean_model=true",
    )
    return analyse(load_runs([two_algorithms, rounds]))


class Page(HTMLParser):
    """Elements of a page, and the text of its scripts and styles."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.texts, self.open = [], {}, []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.elements.append((tag, attributes))
        if tag in ("script", "style", "pre", "li", "td", "h1"):
            self.open.append((tag, attributes.get("id")))

    def handle_endtag(self, tag):
        if self.open and self.open[-1][0] == tag:
            self.open.pop()

    def handle_data(self, data):
        if self.open:
            self.texts.setdefault(self.open[-1], []).append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def page_text(analysis):
    return report_page(analysis)


@pytest.fixture(scope="module")
def page(page_text):
    return Page(page_text)


def test_a_page_loads_nothing(page, page_text):
    for tag, attributes in page.elements:
        for name in ("src", "href", "data", "poster", "srcset", "action"):
            value = attributes.get(name)
            assert value is None or value.startswith("#"), (tag, name, value)
    assert not [
        tag for tag, _ in page.elements if tag in ("link", "iframe", "img", "object", "embed", "base")
    ]
    own = page_text.replace(
        max((t for ts in page.texts.values() for t in ts), key=len), ""
    )  # without plotly.js
    assert "http://" not in own
    assert "https://" not in own
    assert "@import" not in own
    assert "url(" not in own


def test_plotly_is_in_it_once(page_text):
    assert page_text.count("plotly.js v") == 1


def test_every_chart_is_on_the_page_with_all_its_curves(analysis, page):
    plots = {attributes["data-figure"] for attributes in page.all("div") if "data-figure" in attributes}
    data = {
        key: json.loads("".join(parts))
        for (tag, key), parts in page.texts.items()
        if tag == "script" and key is not None
    }
    assert plots == set(data)
    charts = charts_of(analysis)
    assert {chart.key for chart in charts} <= plots
    for chart in charts:
        names = [trace["name"] for trace in data[chart.key]["data"] if "name" in trace]
        assert names == [series.name for series in chart.series]
        for trace in data[chart.key]["data"]:
            assert len(trace["x"]) == len(trace["y"]) > 0
    for index in range(3):
        assert f"network-{index}" in plots
        assert f"disagreement-{index}" in plots


def test_the_page_has_findings_scenarios_and_labels(analysis, page, page_text):
    items = ["".join(parts) for (tag, _), parts in page.texts.items() if tag == "li"]
    for sentence in findings(analysis):
        assert any(sentence in item for item in items)
    assert page_text.count("[population]") == 3
    for group in analysis.groups:
        assert group.label in page_text


def test_text_from_outside_cannot_become_markup():
    nasty = "</script><script>alert(1)</script><b>"
    runs = [made([0.1, 0.5, 0.9], label=nasty, seed=0), made([0.1, 0.3, 0.6], label="plain", seed=0)]
    text = report_page(analyse(runs, Questions(pooled="none", theory=False)))
    assert "alert(1)" in text
    assert "<script>alert" not in text
    assert Page(text).all("b") == []


def test_curves_of_a_chart_are_those_of_the_records(analysis):
    chart = next(each for each in charts_of(analysis) if each.key == "consensus-distance")
    group = analysis.groups[0]
    series = next(each for each in chart.series if each.name == group.label)
    mean = np.mean([measured.run.column("consensus_distance") for measured in group.runs], axis=0)
    np.testing.assert_allclose(series.y, mean[mean > 0])
    assert series.low is not None
    assert (series.low <= series.y).all()
    assert (series.y <= series.high).all()
    theory = [each for each in chart.series if each.name.startswith(("d_psgd, bound", "d_psgd, order"))]
    assert theory
    assert all(each.stroke != "solid" for each in theory)


def test_layers_and_mean_model_have_charts_where_they_were_recorded(analysis):
    keys = {chart.key for chart in charts_of(analysis)}
    assert {"mean-model", "gradient", "layers-2"} <= keys
    assert not {"layers-0", "layers-1"} & keys


def test_recorded_layers_and_mean_model_are_those_of_the_last_models(analysis):
    (measured,) = analysis.groups[2].runs
    for name, value in measured.layers.items():
        assert measured.run.last(f"consensus_distance/{name}") == pytest.approx(value, rel=1e-5)
    assert measured.run.last("mean_model_accuracy") == pytest.approx(measured.mean_model)
    assert measured.run.last("mean_model_gradient") == pytest.approx(
        measured.theory.landscape.gradient, rel=1e-4
    )


def test_tables_have_a_row_a_run_and_a_row_an_evaluation(analysis, tmp_path):
    runs = runs_table(analysis)
    assert len(runs) == 7
    assert runs["accuracy_mean_of_models"].is_between(0, 1).all()
    curves = curves_table(analysis)
    assert len(curves) == sum(len(measured.run.curves) for measured in analysis.runs)
    outputs = Outputs(
        csv=tmp_path / "r.csv", parquet=tmp_path / "new" / "r.parquet", curves=tmp_path / "c.parquet"
    )
    outputs.check()
    assert write_outputs(analysis, outputs) == [outputs.csv, outputs.parquet, outputs.curves]
    assert pl.read_parquet(outputs.parquet).equals(runs)
    assert pl.read_csv(outputs.csv)["gap_to_pooled"].to_list() == pytest.approx(
        runs["gap_to_pooled"].to_list()
    )
    assert pl.read_parquet(outputs.curves).equals(curves)


def test_the_summary_is_plain_json(analysis):
    text = json.dumps(summary(analysis), allow_nan=False)
    plain = json.loads(text)
    assert [group["label"] for group in plain["groups"]] == [group.label for group in analysis.groups]
    assert plain["findings"] == findings(analysis)
    assert len(plain["theory"]) == len(theory_table(analysis))
    assert plain["runs"][0]["seed"] == 1


def test_every_figure_is_drawn(two_algorithms, tmp_path):
    analysis = analyse(load_runs([two_algorithms / "MU-1"]), Questions(pooled="none", theory=False))
    written = write_figures(analysis, tmp_path, formats=("svg",))
    charts = {chart.key for chart in charts_of(analysis)}
    assert {path.stem for path in written} == charts | {"network-0", "disagreement-0", "tensors-0"}
    assert all(b"<svg" in path.read_bytes() for path in written)


def test_figures_are_vectors_and_the_same_every_time(tmp_path):
    analysis = analyse([made([0.1, 0.5, 0.9])], Questions(pooled="none", theory=False))
    chart = charts_of(analysis)[0]
    for suffix, begins in (("svg", b"<?xml"), ("pdf", b"%PDF")):
        first, second = (tmp_path / f"{name}.{suffix}" for name in ("one", "two"))
        save(draw_chart(chart), first)
        save(draw_chart(chart), second)
        assert first.read_bytes() == second.read_bytes()
        assert first.read_bytes().startswith(begins)


def scalars(folder):
    """Tags and (step, value) pairs of an event file, read by its definition: length, checksum, data, checksum."""
    from tensorboardX.proto.event_pb2 import Event

    found = {}
    (file,) = folder.glob("events.*")
    content, place = file.read_bytes(), 0
    while place < len(content):
        (length,) = struct.unpack_from("<Q", content, place)
        event = Event.FromString(content[place + 12 : place + 12 + length])
        place += 12 + length + 4
        for value in event.summary.value:
            found.setdefault(value.tag, []).append((event.step, value.simple_value))
    return found


def test_event_files_hold_every_curve(analysis, tmp_path):
    write_outputs(analysis, Outputs(tensorboard=tmp_path))
    folders = sorted(path.name for path in tmp_path.iterdir())
    assert len(folders) == 8
    run = analysis.groups[0].runs[0].run
    found = scalars(tmp_path / "gossip_learning-merge=MU-seed-1")
    steps, values = zip(*found["accuracy/mean"], strict=True)
    assert list(steps) == run.column("round").astype(int).tolist()
    np.testing.assert_allclose(values, run.column("accuracy_mean"), rtol=1e-6)
    assert "run/consensus_distance" in found
    assert "findings/text_summary" in scalars(tmp_path / "findings")


@pytest.mark.parametrize(
    ("outputs", "said"),
    [
        ({"report": "page.pdf"}, "ending in .html"),
        ({"csv": "table.parquet"}, "ending in .csv"),
        ({"curves": "curves.txt"}, "ending in .csv or .parquet"),
        ({"parquet": "there.parquet"}, "is a directory"),
        ({"figures": "file"}, "is a file"),
    ],
)
def test_wrong_names_of_files_are_found_before_anything_is_computed(outputs, said, tmp_path):
    (tmp_path / "there.parquet").mkdir()
    (tmp_path / "file").write_text("")
    with pytest.raises(NotWritable, match=said):
        Outputs(**{key: tmp_path / name for key, name in outputs.items()}).check()


def test_a_missing_library_is_named_with_what_installs_it(tmp_path, monkeypatch):
    monkeypatch.setattr(output_module, "find_spec", lambda name: None)
    with pytest.raises(MissingLibrary, match=r"tensorboardX.*gossipfl\[tensorboard\]"):
        Outputs(tensorboard=tmp_path / "t").check()


def test_what_the_disk_refuses_is_named(analysis, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(NotWritable, match="file"):
        write_outputs(analysis, Outputs(csv=tmp_path / "file" / "below.csv"))


BROWSER = shutil.which("chromium") or shutil.which("google-chrome")


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="no browser here")
def test_a_browser_draws_every_visible_plot(page_text, page, tmp_path):
    (tmp_path / "page.html").write_text(page_text)
    quiet = ("--headless=new", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=20000", "--dump-dom")
    done = subprocess.run(
        [BROWSER, *quiet, f"--user-data-dir={tmp_path / 'profile'}", (tmp_path / "page.html").as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    plots = [attributes for attributes in page.all("div") if attributes.get("class") == "plot"]
    visible = [attributes for attributes in plots if "hidden" not in attributes]
    assert int(re.search(r'data-drawn="(\d+)"', done.stdout).group(1)) == len(visible)
    assert done.stdout.count('class="main-svg"') >= len(visible)


def captions(text):
    return re.findall(r'<h3>([^<]*)</h3>(?:<p class="caption">([^<]*)</p>)?', text)


def heads(text):
    return re.findall(r"<th[^>]*>([^<]*)</th>", text)


def test_captions_speak_only_of_lines_that_are_there():
    runs = [made([0.2, 0.5, 0.6, 0.7], label=label, seed=0) for label in ("a", "b")]
    text = report_page(analyse(runs, Questions(pooled="none", theory=False)))
    said = dict(captions(text))
    assert "dotted" not in text.partition("<script")[0]
    assert "theory" not in said["Accuracy over rounds"]
    assert "band" not in said["Rounds to accuracy"]  # one seed each
    runs = [made([0.2, 0.5, 0.6, 0.7], seed=seed, consensus_distance=[4, 2, 1, 0.5]) for seed in (0, 1)]
    said = dict(captions(report_page(analyse(runs, Questions(pooled="0.9", theory=False)))))
    assert "dotted: pooled training" in said["Accuracy over rounds"]
    assert "theory" not in said["Consensus distance"]
    assert "fastest and slowest seed" in said["Rounds to accuracy"]


def test_a_chart_of_theory_says_so(analysis):
    (chart,) = [each for each in charts_of(analysis) if each.key == "consensus-distance"]
    assert "theory" in chart.title
    assert "dashed: theory" in chart.caption


def test_a_network_has_one_picture_with_a_tab_for_each_group(analysis, page_text):
    pictures = re.findall(r"<h3>(Who talks to whom[^<]*)</h3>", page_text)
    networks = {group.runs[0].network.name for group in analysis.groups}
    assert len(pictures) == len(networks) == 1
    tabs = re.findall(r'data-plot="plot-network-(\d)" aria-selected="(\w+)"', page_text)
    assert tabs == [("0", "true"), ("1", "false"), ("2", "false")]
    shown = re.findall(
        r'<div class="plot" id="plot-network-(\d)" data-figure="network-\d"( hidden)?>', page_text
    )
    assert shown == [("0", ""), ("1", " hidden"), ("2", " hidden")]


def test_columns_in_which_nothing_is_are_left_out(capsys):
    from rich.console import Console

    found = analyse([made([0.2, 0.5, 0.6])], Questions(pooled="none", theory=False))
    Console(width=120).print(terminal_table(found))
    said = capsys.readouterr().out
    assert "Gini" in said
    assert not any(name in said for name in ("behind pooled", "of the mean model", "effective learning rate"))
    text = report_page(found)
    assert "worst node" in heads(text)
    assert "Gini" in heads(text)
    for name in ("worst behind pooled", "of the mean model", "effective learning rate"):
        assert name not in heads(text)


def test_theory_that_nothing_was_measured_for_has_no_column_of_it(analysis, capsys):
    from rich.console import Console

    def shown(found):
        Console(width=200).print(theory_terminal_table(found))
        return capsys.readouterr().out.splitlines()[1], theory_section(found)

    terminal, page = shown(analysis)
    assert "measured" in terminal
    assert "<th>measured</th>" in page
    group = analysis.groups[0]
    theory = group.runs[0].theory
    figures = tuple(replace(figure, measured=None) for figure in theory.figures)
    run = replace(group.runs[0], theory=replace(theory, figures=figures))
    terminal, page = shown(replace(analysis, groups=(replace(group, runs=(run,)),)))
    assert "measured" not in terminal
    assert page.count("<th") == page.count("<td") / len(figures)
    assert "<th>measured</th>" not in page


def test_where_all_nodes_have_nothing_their_fairness_is_a_dash(capsys):
    from rich.console import Console

    run = made([0.0, 0.0, 0.0], nodes=3)
    zeros = [pl.lit(0.0).alias(name) for name in run.curves.columns if name.startswith("accuracy")]
    run = replace(
        run, curves=run.curves.with_columns(zeros), nodes=run.nodes.with_columns(accuracy=pl.lit(0.0))
    )
    found = analyse([run], Questions(pooled="none", theory=False))
    assert np.isnan(found.groups[0].fairness("gini"))
    Console(width=120).print(terminal_table(found))
    assert "nan" not in capsys.readouterr().out
    text = report_page(found)
    assert "nan" not in text.partition("<script")[0].lower()
    assert "Gini" not in heads(text)
    assert all("nan" not in series.name for chart in charts_of(found) for series in chart.series)


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 1920, 390])
def test_the_page_fits_its_window(analysis, width, tmp_path):
    browsing = pytest.importorskip("playwright.sync_api")
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no browser here: apt-get install chromium")
    write_outputs(analysis, Outputs(report=tmp_path / "page.html"))
    with browsing.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": width, "height": 900})
        page.goto((tmp_path / "page.html").as_uri())
        page.wait_for_selector("html[data-drawn]")
        sizes = page.evaluate(
            "() => [document.documentElement, ...document.querySelectorAll('.card')]"
            ".map(e => [e.innerText.slice(0, 60), e.scrollWidth, e.clientWidth])"
        )
        browser.close()
    tables = [] if width >= 1280 else ["runs"]  # a narrow window scrolls them
    assert not [each for each in sizes if each[1] > each[2] and not each[0].startswith(tuple(tables))]
