"""Lines of a running peer on standard error, on standard output and in its home: one form for all."""

import json
import logging
import os
import re
import sys

import pytest

from gossipfl.cli.logs import as_logged, logging_to
from gossipfl.settings.log import LogSettings

TIMED = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} INFO "


@pytest.mark.parametrize("form", ["text", "json"])
def test_progress_on_standard_output_has_the_form_of_the_log(tmp_path, capsys, form):
    with logging_to(tmp_path / "peer.log", LogSettings(format=form)):
        logging.getLogger("gossipfl.somewhere").info("said")
        print(as_logged("age 3", "gossipfl.cli.running"))
    shown = capsys.readouterr()
    for line, message in ((shown.err, "said"), (shown.out, "age 3")):
        if form == "json":
            values = json.loads(line)
            assert (values["level"], values["message"]) == ("info", message)
            assert {"time", "source"} < set(values)
        else:
            assert re.fullmatch(TIMED + message + "\n", line)
    [kept] = (tmp_path / "peer.log").read_text().splitlines()  # progress is not kept
    assert json.loads(kept)["message"] == "said"


def test_the_journal_gets_levels_and_no_time(tmp_path, capfd, monkeypatch):
    stream = os.fstat(sys.stderr.fileno())
    monkeypatch.setenv("JOURNAL_STREAM", f"{stream.st_dev}:{stream.st_ino}")
    with logging_to(tmp_path / "peer.log", LogSettings()):
        logging.getLogger("gossipfl.somewhere").warning("said")
        print(as_logged("age 3", "gossipfl.cli.running"))
    assert capfd.readouterr() == ("<6>age 3\n", "<4>said\n")


def test_a_line_outside_of_a_log_is_as_it_is():
    assert as_logged("age 3", "gossipfl.cli.running") == "age 3"
