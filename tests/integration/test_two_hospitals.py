"""The walk-through of two hospitals, run from its page on two machines: network namespaces on one switch."""

import contextlib
import json
import shutil
import time

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from .namespaces import lab, needs_namespaces
from .walkthrough import REPOSITORY, Machine, files, lacking, steps

PAGE = REPOSITORY / "docs" / "tutorials" / "two-hospitals.md"
ENOUGH = 300  # steps along the model's longest line


def test_what_is_shown_is_compared():
    said = "Made peer 12D3 in peer, for task x.\n112 samples\n"
    assert lacking(["Made peer 12… in peer, for task x.", "112   samples"], said) is None
    assert lacking(["112 samples", "Made peer"], said) == "Made peer"
    assert lacking(["Made peer 13…"], said) == "Made peer 13…"
    assert [each.machine for each in steps(PAGE)].count("south") >= 6


def hospital(directory):
    """What the file of the page defines, in one hospital's directory."""
    scope = {"__file__": str(directory / "biopsies.py")}
    exec(compile((directory / "biopsies.py").read_text(), "biopsies.py", "exec"), scope)
    return scope


def accuracy(directory, weights, table):
    """How good a model with these weights is on a table."""
    scope = hospital(directory)
    module = scope["model"]()
    module.load_state_dict(weights)
    outputs = module(scope["scaled"](torch.from_numpy(table[:, :30])))
    return float((outputs.argmax(1) == torch.from_numpy(table[:, 30])).float().mean())


def trained_alone(directory, *, steps=150, batch=32, rate=0.1):
    """The weights that a hospital would have alone, with the defaults of a peer."""
    task = hospital(directory)["task"]()
    data, module = task.dataset(), hospital(directory)["model"]
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        own = module()
    descent = torch.optim.SGD(own.parameters(), lr=rate)
    for _ in range(steps):
        chosen = torch.randint(len(data.train_targets), (batch,), generator=generator)
        descent.zero_grad()
        torch.nn.functional.cross_entropy(
            own(data.train_inputs[chosen]), data.train_targets[chosen]
        ).backward()
        descent.step()
    return own.state_dict()


def has_seen_enough(machine, *, age=ENOUGH, seconds=300.0):
    """Whether a hospital's model gets that old in time: how long it takes depends on the machine."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        said, _ = machine.start("gossipfl peer status --home peer --json").communicate(timeout=60)
        if json.loads(said.splitlines()[0])["age"] >= age:
            return True
        time.sleep(1.0)
    return False


@needs_namespaces
@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_two_hospitals_from_nothing_to_a_shared_model(tmp_path):
    named, code = files(PAGE)
    with contextlib.chdir(tmp_path):
        for each in code:
            exec(compile(each, PAGE.name, "exec"), {"__name__": "tutorial"})
    with lab() as network, contextlib.ExitStack() as stack:
        switch, machines = network.switch("between"), {}
        for number, name in enumerate(("north", "south"), start=1):
            host = network.host(name)
            network.connect(switch, host, f"10.0.0.{number}/24")
            machines[name] = machine = Machine(host, tmp_path / name)
            stack.callback(machine.stop)
            shutil.copy(tmp_path / f"{name}.csv", machine.directory / "biopsies.csv")
            for file, content in named.items():
                (machine.directory / file).write_text(content)
        invitation = None
        for step in steps(PAGE):
            step.command = step.command.replace("INVITATION", str(invitation))
            if " leave " in step.command:
                assert has_seen_enough(machines[step.machine])
            said = machines[step.machine].run(step)
            if " invite " in step.command:
                invitation = next(line for line in said.splitlines() if line.startswith("gossipfl1"))
    table = np.loadtxt(tmp_path / "unseen.csv", delimiter=",", dtype=np.float32)
    weights = {name: load_file(tmp_path / name / "model.safetensors") for name in machines}
    shared = {name: accuracy(tmp_path / name, weights[name], table) for name in machines}
    alone = {name: accuracy(tmp_path / name, trained_alone(tmp_path / name), table) for name in machines}
    rows = [torch.cat([each.flatten() for each in own.values()]) for own in weights.values()]
    apart = float((rows[0] - rows[1]).norm() / rows[0].norm())
    print(
        f"\nright on 269 unseen biopsies: {shared}, alone {alone}; models apart by {apart:.1%} of their norm"
    )
    assert min(shared.values()) > 0.85
    assert shared["south"] > alone["south"]
    assert apart < 0.1
