"""Attacks on recorded peers: membership by their last models, and whose model it is."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from gossipfl.settings import parse_settings
from sims.cli.privacy import app
from sims.privacy.attacks.recorded import attack_homes
from sims.privacy.errors import NotAccountable
from tests.sims.replay.recorded import RecordingPeer, settings_of


def _peers(directory: Path, outgoing: Sequence[dict[str, object]] = ()) -> list[RecordingPeer]:
    """Peers, each with a few digits, that have trained by themselves for a while."""
    peers = []
    for number in range(3):
        task = {"name": "digits", "options": {"partition": "iid", "peers": 60, "index": number}}
        settings = settings_of(number, task=task, training={"learning_rate": 0.5})
        changed = {**settings.model_dump(mode="json"), "outgoing": [*outgoing]}
        settings = parse_settings(changed, source="a test")
        peers.append(RecordingPeer(directory / f"peer-{number}", settings))
        for _ in range(150):
            peers[-1].train_alone()
        peers[-1].save()
    return peers


def test_models_of_peers_that_trained_alone_are_known_by_their_data(tmp_path: Path) -> None:
    peers = _peers(tmp_path)
    found = attack_homes([peer.home.directory for peer in peers])
    assert found.links.top1.value == 1
    for findings in found.membership.values():
        assert findings.auc > 0.7
        assert findings.epsilon_of_one_run is None
    assert found.membership["loss"].members == sum(len(p.task.dataset().train_targets) for p in peers)
    result = CliRunner().invoke(app, ["attack", str(tmp_path), "--json"])
    assert result.exit_code == 0, result.output
    said = json.loads(result.output)
    assert said["links"]["trained on"]["top1"]["value"] == 1
    assert said["row_space"]["computed"] == 0, "they sent nothing"
    assert "recorded peers" in CliRunner().invoke(app, ["attack", str(tmp_path)]).output
    refused = CliRunner().invoke(app, ["attack", str(tmp_path), "--set", "seed=1"])
    assert "as it was" in str(refused.exception)


def test_noise_on_what_leaves_is_on_what_is_attacked(tmp_path: Path) -> None:
    noise = [{"kind": "clip", "norm": 1.0}, {"kind": "noise", "deviation": 10.0}]
    peers = _peers(tmp_path, outgoing=noise)
    found = attack_homes([peer.home.directory for peer in peers])
    assert found.membership["loss"].auc == pytest.approx(0.5, abs=0.15)
    again = attack_homes([peer.home.directory for peer in peers])
    assert again == found
    assert not np.isclose(attack_homes([p.home.directory for p in peers], seed=1).membership["loss"].auc, 1)


def test_homes_without_models_and_single_homes_are_refused_by_name(tmp_path: Path) -> None:
    peers = _peers(tmp_path)
    with pytest.raises(NotAccountable, match="at least two homes"):
        attack_homes([peers[0].home.directory])
    peers[1].home.checkpoint.unlink()
    with pytest.raises(NotAccountable, match="saved no model"):
        attack_homes([peer.home.directory for peer in peers])
