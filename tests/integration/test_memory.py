"""Memory of peers and hosts with large models, measured from outside."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "memory.py"


def measured(*options):
    command = [sys.executable, str(BENCHMARK), "--json", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_peer_holds_at_most_six_rows_of_100_mb_while_three_exchange_without_pause():
    outcome = measured("--megabytes", "100", "--peers", "3", "--seconds", "40")
    assert max(outcome["rows"]) <= 6, outcome
    assert min(outcome["models_sent"]) >= 3, outcome
    assert min(outcome["models_received"]) >= 2, outcome


@pytest.mark.parametrize(("codec", "sender", "receiver"), [("float32", 0.1, 1.1), ("int8:256", 0.4, 1.4)])
def test_an_exchange_of_500_mb_takes_hardly_more_than_the_model_and_its_payload(codec, sender, receiver):
    outcome = measured("--once", "--megabytes", "500", "--codec", codec)
    assert outcome["sender_rows"] <= sender, outcome
    assert outcome["receiver_rows"] <= receiver, outcome
