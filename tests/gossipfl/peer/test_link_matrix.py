"""Bandwidths that members have measured, as a matrix and as the command prints it."""

import json
import math

import numpy as np
import pytest
from typer.testing import CliRunner

from gossipfl.cli.peer import app
from gossipfl.errors import HomeError
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


def test_who_lies_about_its_links_gains_little():
    honest, claimed = 5 * MBIT, 10_000 * MBIT
    seen = link_matrix(
        ["a", "b", "liar"],
        [
            status("a", b=(40 * MBIT, 40 * MBIT), liar=(honest, honest)),
            status("b", a=(40 * MBIT, 40 * MBIT), liar=(claimed, honest)),  # to it, it says that all arrived
            status("liar", a=(claimed, claimed), b=(claimed, claimed)),
        ],
        [None] * 3,
    )
    pairs = np.minimum(seen, seen.T)  # a pair is as fast as its slower way
    assert pairs.tolist() == [[0, 40, 20], [40, 0, 20], [20, 20, 0]]


@pytest.mark.parametrize("rate", [math.nan, math.inf, -1.0, 0, "9", True, [1.0], 10**400, 1e300])
def test_rates_that_are_none_are_named(rate):
    statuses = [status("a", b=(20 * MBIT, None)), status("b", a=(rate, None))]
    with pytest.raises(HomeError, match="member 1, 'b', says of its links"):
        link_matrix(["a", "b"], statuses, [None, None])


@pytest.mark.parametrize(
    ("told", "examination"),
    [
        ({"peers": [1]}, None),
        ({"peers": None}, None),
        ({}, None),
        ({"peers": [{}]}, None),
        ({"peers": []}, {}),
        ({"peers": []}, {"neighbours": [{"peer_id": "a", "bandwidth": 3}]}),
        ({"peers": []}, {"neighbours": [{"peer_id": "a", "bandwidth": {"upload": 3}}]}),
    ],
)
def test_files_that_are_none_are_named(told, examination):
    with pytest.raises(HomeError, match="member 1, 'b', says of its links"):
        link_matrix(["a", "b"], [status("a"), told], [None, examination])
    with pytest.raises(HomeError, match="a is a member twice"):
        link_matrix(["a", "a"], [status("a"), status("a")], [None, None])


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
