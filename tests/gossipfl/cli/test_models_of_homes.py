"""Models out of homes: `Peer.model` of a stopped peer, ``gossipfl export`` and ``gossipfl predict``."""

import importlib.util
import json

import numpy as np
import pytest
import torch
import trio
from safetensors.torch import load_file

from gossipfl.peer import Home, Peer, saved_model
from tests.integration.peers import quick_settings, running

from .test_main import cli

__all__ = ["cli"]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A home whose peer has learned a little."""
    directory = tmp_path_factory.mktemp("homes") / "alice"

    async def learn():
        peer = Peer(directory, settings=quick_settings())
        async with running(peer):
            with trio.fail_after(60):
                while peer.status().step < 5:
                    await trio.sleep(0.05)

    trio.run(learn)
    return Home(directory)


def inputs_of(home):
    return Peer(home.directory).task.dataset().test_inputs[:7]


def test_a_stopped_peer_has_the_model_of_its_checkpoint(home):
    model = Peer(home.directory).model()
    saved, age = saved_model.saved_model(home, saved_model.task_of_home(home))
    assert age > 0
    assert not model.training
    initial = Peer(home.directory).task.build_module().state_dict()
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, saved.state_dict()[name])
    assert any(not torch.equal(tensor, initial[name]) for name, tensor in model.state_dict().items())


def test_named_tensors_are_those_of_the_module(cli, home, tmp_path):
    code, out, err = cli("export", tmp_path / "model.safetensors", "--home", home.directory, "--json")
    assert (code, err) == (0, "")
    said = json.loads(out)
    assert (said["format"], said["age"] > 0) == ("safetensors", True)
    expected = Peer(home.directory).model().state_dict()
    found = load_file(tmp_path / "model.safetensors")
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in found)


def test_an_exported_programme_computes_the_same(cli, home, tmp_path):
    path = tmp_path / "model.pt2"
    assert cli("export", path, "--home", home.directory, "--format", "torch-export")[0] == 0
    inputs = inputs_of(home)
    with torch.no_grad():
        found, expected = torch.export.load(path).module()(inputs), Peer(home.directory).model()(inputs)
    torch.testing.assert_close(found, expected)


@pytest.mark.skipif(importlib.util.find_spec("onnxscript") is None, reason="onnx and onnxscript are optional")
def test_an_onnx_file_computes_the_same(cli, home, tmp_path):
    from onnx.reference import ReferenceEvaluator

    path = tmp_path / "model.onnx"
    code, _, err = cli("export", path, "--home", home.directory, "--format", "onnx")
    assert code == 0
    assert not any(each in err for each in ("Warning", "torchvision")), (
        "it says what torch would like to have"
    )
    inputs = inputs_of(home)
    evaluator = ReferenceEvaluator(str(path))
    [name] = evaluator.input_names
    [found] = evaluator.run(None, {name: inputs.numpy()})
    with torch.no_grad():
        expected = Peer(home.directory).model()(inputs)
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-4, atol=1e-5)


def test_a_missing_library_is_named(cli, home, tmp_path, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name, *rest: None if name == "onnx" else found(name, *rest)
    )
    code, _, err = cli("export", tmp_path / "model.onnx", "--home", home.directory, "--format", "onnx")
    assert code == 2
    assert "pip install 'gossipfl[onnx]'" in err


@pytest.mark.parametrize("suffix", [".npy", ".csv"])
def test_predictions_are_the_models_outputs(cli, home, tmp_path, suffix):
    inputs, path = inputs_of(home), tmp_path / f"inputs{suffix}"
    if suffix == ".npy":
        np.save(path, inputs.numpy().astype(np.float64))
    else:
        np.savetxt(path, inputs.numpy(), delimiter=",", fmt="%.9g")
    code, out, err = cli("predict", path, "--home", home.directory, "--json")
    assert (code, err) == (0, "")
    said = [json.loads(line) for line in out.splitlines()]
    with torch.no_grad():
        expected = Peer(home.directory).model()(inputs)
    torch.testing.assert_close(torch.tensor([each["outputs"] for each in said]), expected)
    assert [each["largest"] for each in said] == expected.argmax(dim=1).tolist()
    code, out, _ = cli("predict", path, "--home", home.directory)
    assert [int(line.split()[0]) for line in out.splitlines()] == expected.argmax(dim=1).tolist()


@pytest.mark.parametrize(
    ("content", "part"),
    [
        ("1,2\n", "does not accept these inputs"),
        ("a,b\n", "cannot be read"),
        ("", "cannot be read"),
        (None, "cannot be read"),
    ],
)
def test_wrong_inputs_are_named(cli, home, tmp_path, content, part):
    path = tmp_path / "inputs.csv"
    if content is not None:
        path.write_text(content)
    code, out, err = cli("predict", path, "--home", home.directory)
    assert (code, out) == (2, "")
    assert part in err
    assert "Traceback" not in err and "Warning" not in err


def test_a_home_without_a_checkpoint_says_what_to_do(cli, tmp_path):
    Home(tmp_path / "alice").create(quick_settings())
    code, _, err = cli("export", tmp_path / "model", "--home", tmp_path / "alice")
    assert code == 2
    assert "there is no model" in err
    assert "gossipfl peer run" in err
