"""The walk-through of three keyboards, run from its page on three machines: network namespaces on one switch."""

import contextlib
import json
import re
import subprocess
import sys
import tomllib

import pytest

from gossipfl.peer import Home
from gossipfl.settings import parse_settings
from gossipfl.settings.loading import dump_settings

from .namespaces import lab, needs_namespaces
from .test_keyboard import assert_nowhere
from .walkthrough import REPOSITORY, Machine, files, steps

PAGE = REPOSITORY / "docs" / "tutorials" / "own-keyboard.md"
CANARY = "xylophonequokka"

#: Types in a machine of its own, whose page nobody else can reach.
TYPING = """
import json, sys, urllib.request
base, token = sys.argv[1].split("#token=")
def post(path, **values):
    request = urllib.request.Request(base + "api/keyboard/" + path, json.dumps(values).encode(),
        {"Authorization": "Bearer " + token, "Content-Type": "application/json"})
    return json.load(urllib.request.urlopen(request, timeout=60))
post("typed", message=1, text="we are the people of %s ")
print(json.dumps(post("suggest", text="the people of the ")["suggestions"]))
"""


def test_all_three_make_the_same_model():
    made = [each.command for each in steps(PAGE) if " peer init " in each.command]
    assert len(made) == 3
    assert len(set(made)) == 1


def test_the_policy_is_set_where_a_new_peer_s_settings_have_it():
    """A second table of that name would be refused."""
    (block,) = re.findall(r"```toml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    wanted = tomllib.loads(block)
    text = dump_settings(parse_settings({"task": {"name": "next-word"}}, source="a test"))
    with pytest.raises(tomllib.TOMLDecodeError, match="twice"):
        tomllib.loads(text + block)
    for line in block.splitlines()[1:]:
        name = line.partition(" =")[0]
        text, count = re.subn(rf"(?m)^(# )?{name} = .*$", line, text)
        assert count == 1, name
    found = parse_settings(tomllib.loads(text), source="a test").policy
    assert found.model_dump(include=set(wanted["policy"])) == wanted["policy"]


@needs_namespaces
@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_three_keyboards_from_the_demo_to_their_own_text(tmp_path):
    pytest.importorskip("wordfreq")
    pytest.importorskip("hypercorn")
    pytest.importorskip("onnxruntime")
    _, code = files(PAGE)
    with contextlib.chdir(tmp_path):
        for each in code:
            exec(compile(each, PAGE.name, "exec"), {"__name__": "tutorial"})
    with lab() as network, contextlib.ExitStack() as stack:
        switch, machines = network.switch("between"), {}
        for number, name in enumerate(("ada", "ben", "eva"), start=1):
            host = network.host(name)
            network.connect(switch, host, f"10.0.0.{number}/24")
            machines[name] = machine = Machine(host, tmp_path / f"at-{name}")
            stack.callback(machine.stop)
            (machine.directory / "me.txt").write_text((tmp_path / f"{name}.txt").read_text())
        invitation = None
        for step in steps(PAGE):
            step.command = step.command.replace("INVITATION", str(invitation))
            said = machines[step.machine].run(step)
            if " invite " in step.command:
                invitation = next(line for line in said.splitlines() if line.startswith("gossipfl1"))
            if " peer page " in step.command:
                suggested = typed_at(machines[step.machine], said.strip())
        words = subprocess.run(
            [sys.executable, str(tmp_path / "at-eva" / "eva-8bit" / "suggest.py"), "I will be"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()
    print(f"suggested on the page {suggested}, by the export {words}")
    assert len(suggested) == len(words) == 3
    for name in machines:
        home = Home(tmp_path / f"at-{name}" / "peer")
        assert_nowhere(home, CANARY)
        assert json.loads(home.status.read_bytes())["keyboard"]["loop"]["merged"]["count"] > 0


def typed_at(machine, address):
    """Suggestions on a machine's page, after a word of one's own was typed there."""
    done = subprocess.run(
        ["ip", "netns", "exec", machine.namespace, sys.executable, "-c", TYPING % CANARY, address],
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)
