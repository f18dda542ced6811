"""Bandwidths that members have measured, as a matrix and as the command prints it."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from gossipfl.cli.peer import app
from gossipfl.peer.link_matrix import link_matrix

MBIT = 1e6 / 8


def status(own, **rates):
    peers = [{"peer_id": other, "upload": up, "download": down} for other, (up, down) in rates.items()]
    return {"peer_id": own, "peers": peers}


def test_a_link_is_as_fast_as_the_faster_of_what_both_sides_saw():
    statuses = [
        status("a", b=(20 * MBIT, 90 * MBIT), c=(None, None), stranger=(1.0, 1.0)),
        status("b", a=(100 * MBIT, 15 * MBIT)),
        status("c"),
    ]
    by_doctor = {"upload": {"bytes_per_second": 5 * MBIT, "is_least": False}, "failure": "none back"}
    examinations = [
        None,
        {"neighbours": [{"peer_id": "a"}]},
        {"neighbours": [{"peer_id": "b", "bandwidth": by_doctor}]},
    ]
    seen = link_matrix(["a", "b", "c"], statuses, examinations)
    expected = [[0, 20, np.nan], [100, 0, np.nan], [np.nan, 5, 0]]
    assert seen == pytest.approx(np.array(expected), nan_ok=True)


def test_the_command_prints_what_matchings_read(tmp_path):
    homes = []
    for own, other, up, down in (("a", "b", 20, 100), ("b", "a", 100, 20)):
        home = tmp_path / own
        home.mkdir()
        (home / "status.json").write_text(json.dumps(status(own, **{other: (up * MBIT, down * MBIT)})))
        homes.append(str(home))
    shown = CliRunner().invoke(app, ["bandwidths", *homes])
    assert shown.output.splitlines() == ["0,20", "100,0"]
    (tmp_path / "b" / "status.json").write_text(json.dumps(status("b")))
    (tmp_path / "a" / "status.json").write_text(json.dumps(status("a", b=(20 * MBIT, None))))
    refused = CliRunner().invoke(app, ["bandwidths", *homes])
    assert "the first from member 1 to 0" in str(refused.exception)
    shown = CliRunner().invoke(app, ["bandwidths", *homes, "--unknown", "1"])
    assert shown.output.splitlines() == ["0,20", "1,0"]
