"""Callbacks: what they hear and in which order, and that none of them can harm a run."""

import pytest
from typer.testing import CliRunner

import sims
from sims.cli import app
from sims.errors import InvalidCallback
from sims.scenario import to_toml
from sims.tracking import CallbackWarning
from sims.world.trace_cache import Traces
from tests.sims.worlds import small

RUN = ("stop.rounds=12", "evaluate.every=5", "network.loss=0.2")
TRACES = Traces()


def run(*overrides, **options):
    return sims.run(small(*RUN, *overrides), compile_when="never", traces=TRACES, **options)


class Recorder(sims.Callback):
    """Everything it hears, in order."""

    def __init__(self):
        self.heard = []

    def started(self, scenario, directory, earlier):
        self.heard.append(("started", scenario, directory, earlier))

    def evaluated(self, row):
        self.heard.append(("evaluated", row))
        row.clear()  # its own copy

    def ended(self, result):
        self.heard.append(("ended", result))

    def failed(self, error):
        self.heard.append(("failed", error))

    @property
    def events(self):
        return [event for event, *_ in self.heard]


class Failing(Recorder):
    """Fails at some calls, counted from 0."""

    def __init__(self, *calls, error=OSError):
        super().__init__()
        self.calls, self.failing, self.error = 0, calls, error

    def started(self, scenario, directory, earlier):
        self._count()
        super().started(scenario, directory, earlier)

    def evaluated(self, row):
        self._count()
        self.heard.append(("evaluated", row))

    def ended(self, result):
        self._count()
        super().ended(result)

    def _count(self):
        self.calls += 1
        if self.calls - 1 in self.failing:
            raise self.error("no route to the tracker")


def test_a_callback_hears_the_start_every_evaluation_and_the_end(tmp_path):
    recorder = Recorder()
    result = run(callbacks=[recorder], out=tmp_path / "run")
    assert recorder.events == ["started", *["evaluated"] * 4, "ended"]
    assert recorder.heard[0][1:] == (result.scenario, tmp_path / "run", [])
    assert recorder.heard[-1][1] is result
    assert result.evaluations.equals(run().evaluations)  # whatever it did with its rows


def test_a_resumed_run_tells_what_was_before(tmp_path):
    asked = iter([False] * 2)
    first, second = Recorder(), Recorder()
    stopped = run(callbacks=[first], out=tmp_path, interrupted=lambda: next(asked, True))
    assert not stopped.finished
    assert first.events[-1] == "ended"
    whole = sims.run(None, out=tmp_path, resume=True, compile_when="never", callbacks=[second])
    earlier = second.heard[0][3]
    assert [row["round"] for row in earlier] == stopped.evaluations["round"].to_list()
    assert len(earlier) + second.events.count("evaluated") == whole.evaluations.height
    assert whole.evaluations.equals(run().evaluations)


def test_a_run_that_fails_says_so(monkeypatch):
    recorder = Recorder()
    with monkeypatch.context() as patched, pytest.raises(ZeroDivisionError):
        patched.setattr("sims.running.runner.Runner._evaluate", lambda *a, **k: 1 / 0)
        run(callbacks=[recorder])
    assert recorder.events == ["started", "failed"]
    assert isinstance(recorder.heard[-1][1], ZeroDivisionError)


@pytest.mark.parametrize("error", [OSError, SystemExit, AssertionError])
@pytest.mark.parametrize("calls", [(0,), (2,), (1, 2), (0, 1)])
def test_what_a_callback_failed_on_it_is_told_again(calls, error):
    failing, recorder = Failing(*calls, error=error), Recorder()
    with pytest.warns(CallbackWarning, match=r"Failing failed in .* it is told again \(.*no route") as warned:
        result = run(callbacks=[failing, recorder])
    assert len(warned) == len(calls)
    assert failing.events == ["started", *["evaluated"] * 4, "ended"]
    assert [row["round"] for _, row in failing.heard[1:-1]] == result.evaluations["round"].to_list()
    assert recorder.events == failing.events
    assert result.evaluations.equals(run().evaluations)


def test_a_callback_that_keeps_failing_is_left_alone():
    failing = Failing(*range(1, 100))
    with pytest.warns(CallbackWarning) as warned:
        result = run(callbacks=[failing])
    said = [str(each.message) for each in warned]
    assert failing.calls == 1 + 3
    assert len(said) == 4
    assert "told nothing more" in said[2]
    assert "4 evaluations and the end" in said[3]
    assert result.finished


def test_an_end_that_fails_is_warned_of():
    with pytest.warns(CallbackWarning, match="not told of the end"):
        assert run(callbacks=[Failing(5)]).finished


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("tensorbord", "Did you mean tensorboard"),
        ("tests.sims.tracking.test_callbacks:Recoder", "Did you mean .*Recorder"),
        ("tests.sims.tracking.nowhere:Recorder", "no module"),
        ("tests.sims.tracking.test_callbacks:run", "takes no arguments|is not a callback"),
        ("builtins:dict", "derived from sims.Callback"),
        ("sims:load_scenario", "takes no arguments"),
        (print, "derived from sims.Callback"),
        (Recorder, "derived from sims.Callback"),
    ],
)
def test_what_is_no_callback_is_refused_before_anything_is_run(given, said, tmp_path):
    with pytest.raises(InvalidCallback, match=said):
        run(callbacks=[given], out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("given", ["mlflow", Recorder()])
def test_one_callback_in_place_of_a_list_is_refused(given):
    with pytest.raises(InvalidCallback, match=r"callbacks are a list; expected \[.*(mlflow|Recorder)"):
        run(callbacks=given)
    with pytest.raises(InvalidCallback, match="callbacks are a list"):
        sims.sweep({"scenario": "digits"}, callbacks=given)


def test_the_command_finds_a_callback_beside_the_scenario(tmp_path):
    (tmp_path / "mine.toml").write_text(to_toml(small(*RUN)))
    (tmp_path / "heard_beside.py").write_text(
        "from pathlib import Path\n"
        "import sims\n"
        "class Told(sims.Callback):\n"
        "    def ended(self, result):\n"
        "        Path(__file__).with_name('told').write_text(str(result.evaluations.height))\n"
    )
    command = [
        "run",
        str(tmp_path / "mine.toml"),
        "--compile",
        "never",
        "--log",
        "heard_beside:Told",
        "--json",
    ]
    outcome = CliRunner().invoke(app, command)
    assert outcome.exit_code == 0, outcome.output
    assert (tmp_path / "told").read_text() == "4"
