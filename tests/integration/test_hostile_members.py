"""A hostile member among peers that run methods for slow links: whatever it sends, the others go on."""

import logging
from collections import Counter
from contextlib import suppress
from dataclasses import replace

import pytest
import torch
import trio
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from gossipfl import errors
from gossipfl.codecs import TensorHeader
from gossipfl.network import load_or_create_identity
from gossipfl.network.bans import Bans
from gossipfl.peer import Peer
from tests.gossipfl.network.helpers import Outlaw, until
from tests.gossipfl.peer.rounds.networks_of_rounds import members, settings_of
from tests.gossipfl.wire.test_round_codecs import bodies
from tests.gossipfl.wire.test_round_messages import forged_progress, forged_round
from tests.integration.peers import records_of, running

pytestmark = pytest.mark.slow

HOSTILE = 2
ADAMW = {"optimiser": "adamw", "local_steps": 2}
METHODS = {
    "demo": ({"count": 4, "pull": 0.01}, {}),
    "streaming": (
        {"codec": "fp4", "fragments": 3, "overlap": 1, "pull": 0.1, "feedback": 1.0, "nesterov": False},
        ADAMW,
    ),
    "sparta": ({"share": 0.05}, {}),
    "saps": ({"share": 0.05}, {}),
    "sparseloco": ({"codec": "chunk-top:8:64", "pull": 0.02}, ADAMW),
    "noloco": ({"bits": 4, "share": 0.5}, ADAMW),
    "gasloc": ({}, ADAMW),
}
ROUNDS = [-3, -1, 0, 0, 0, 1, 1, 2, 4, 5, 300, 2**40, 2**40 + 1, 2**62, 2**63 - 1, 2**63, 2**64 - 1]
KINDS = [each for each in vars(errors).values() if isinstance(each, type)]
NAMED = {each.counter() for each in KINDS if issubclass(each, errors.GossipflError)}
FORMS = ["right"] * 5 + ["longer", "shorter", "renamed", "retyped", "many"]

#: What a member does: from where it is, to which exchange, what of the frame is changed, and how often it is sent.
deeds = st.fixed_dictionaries(
    {
        "round": st.sampled_from(ROUNDS),
        "exchange": st.sampled_from([0, 0, 0, 1, 2, 2**63 - 1]),
        "incarnation": st.sampled_from([0, 1, 1, 2, 2**63 - 1]),
        "form": st.sampled_from(FORMS),
        "codec": st.sampled_from(
            [None, None, None, None, "float32", "fp4:3", "residues:4", "os:System", "top:1"]
        ),
        "agreement": st.sampled_from([True, True, True, True, False]),
        "checksum": st.sampled_from([True, True, True, True, False]),
        "body": st.integers(0, 2**32).flatmap(lambda _: st.none())
        | bodies(64).map(lambda body: body or b"\0"),
        "cut": st.sampled_from([1.0, 1.0, 1.0, 1.0, 0.9, 0.1]),
        "copies": st.sampled_from([1, 1, 2, 20]),
        "progress": st.sampled_from([False, False, False, True]),
    }
)


def frame_of(deed, learner, task):
    """The bytes of a deed, from where a victim is."""
    number = max(0, learner.state.event + deed["round"]) if deed["round"] < 2**40 else deed["round"]
    plan = learner.plan
    said = {"task": task.fingerprint, "agreement": plan.agreement if deed["agreement"] else bytes(32)}
    said |= {"incarnation": deed["incarnation"], "round": number, "exchange": deed["exchange"]}
    if deed["progress"]:
        return forged_progress(**said)
    form = plan.forms[min(deed["exchange"], len(plan.forms) - 1)]
    codec, width = plan.codec_of(form), plan.outgoing.width(form.size)
    width = {"longer": width + 1, "shorter": max(0, width // 2)}.get(deed["form"], width)
    tensors = [TensorHeader(spec.name, spec.dtype, spec.most) for spec in codec.expected(width)]
    if deed["form"] == "renamed":
        tensors[0] = replace(tensors[0], name="rows")
    elif deed["form"] == "retyped":
        tensors[0] = replace(tensors[0], dtype="int32-le")
    elif deed["form"] == "many":
        tensors *= 500
    if deed["body"] is None:
        honest = codec.encode(torch.randn(width))
        *before, last = (bytes(each.data) for each in honest)
        body = b"".join(each + bytes(-len(each) % 8) for each in before) + last
    else:
        length = 0
        for each in tensors[:8]:
            length = -(-length // 8) * 8 + each.nbytes
        body = (deed["body"] * (length // len(deed["body"]) + 1))[:length]
    said |= {"layout": task.layout.digest, "codec": deed["codec"] or codec.name}
    said |= {"tensors": [[each.name, each.dtype, [*each.shape]] for each in tensors]}
    if not deed["checksum"]:
        said["checksum"] = 0
    return forged_round(body, **said)


async def do(deed, victim, identity):
    """One connection, one deed."""
    status = victim.status()
    host = type("Host", (), {"peer_id": status.peer_id, "addresses": status.addresses})
    try:
        frame = frame_of(deed, victim._incarnation.learner, victim.task)
    except OverflowError:  # msgpack has no such integers: nobody can say them
        return
    with suppress(Exception):  # a connection that is closed before all is said, say
        async with Outlaw.connected_to(host, identity) as outlaw:
            await outlaw.open_stream()
            piece = frame[: int(len(frame) * deed["cut"])]
            for _ in range(deed["copies"]):
                await outlaw.send_data(piece)
            with trio.move_on_after(0.2):  # whatever is answered
                while await outlaw.receive_plaintext() is not None:
                    pass


async def attacked(directory, name, plan):
    """Two honest members learn while a third one does what is planned; return them, and what they refused."""
    parameters, training = METHODS[name]
    listen, roster = members(directory, 3)
    rounds = {"algorithm": name, "parameters": parameters, "topology": "complete:3"}
    rounds |= {"gathering": 20.0, "deadline": 2.0, "patience": 3, "period": 0.1}
    training = {"learning_rate": 0.01, **training}
    peers = [
        Peer(
            directory / f"peer-{i}", settings=settings_of(i, listen, roster, rounds=rounds, training=training)
        )
        for i in (0, 1)
    ]
    identity = load_or_create_identity(directory / f"peer-{HOSTILE}")
    over = {"round": 2**39, "exchange": 0, "incarnation": 2**63 - 1, "progress": True, "agreement": True}

    async def attack(victim):
        for deed in (
            {**over, "cut": 1.0, "copies": 1},
            *plan,
        ):  # who says that it is far ahead is not waited for
            await do(deed, victim, identity)

    async with running(*peers):
        async with trio.open_nursery() as nursery:
            for peer in peers:
                nursery.start_soon(attack, peer)
        there = [peer._incarnation.learner.state.event + 10 for peer in peers]
        await until(lambda: all(peer._incarnation.learner.state.event >= max(there) for peer in peers))
    return peers, sum((peer.counters.refused for peer in peers), Counter())


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", METHODS)
def test_honest_members_go_on_whatever_one_of_them_sends(name, tmp_path_factory, monkeypatch, caplog):
    monkeypatch.setattr(Bans, "offend", lambda *_, **__: False)  # or it would be over after four frames
    seen = Counter()

    @given(st.lists(deeds, min_size=25, max_size=40))
    @settings(max_examples=2, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    def whatever(plan):
        caplog.clear()
        peers, refused = trio.run(attacked, tmp_path_factory.mktemp(name), name, plan)
        seen.update(refused)
        assert set(refused) <= NAMED
        assert not [each for each in caplog.records if each.exc_info or each.levelno >= logging.ERROR]
        for number, peer in enumerate(peers):
            mixes = records_of(peer.home, "mix")
            both = [1 - number in each["members"] for each in mixes]
            # Who waits for the hostile one can be late for the other, and that one for it; but not for long.
            assert sum(both) > len(both) / 2, (both, records_of(peer.home, "jump"))
            last = max(each["round"] for each in mixes)  # which the other may not have begun
            end = [
                is_both for each, is_both in zip(mixes, both, strict=True) if last - 4 <= each["round"] < last
            ]
            assert all(end), (both, records_of(peer.home, "jump"))
            box = peer._incarnation.learner._mailbox
            kept = sum(len(rows) for rows in box._kept.values())
            assert kept <= (box.ahead + 1) * len(box.plan.steps) * 2
            assert torch.isfinite(peer._incarnation.learner.state.nodes.rows).all()

    whatever()
    assert len(seen) >= 4
    print(f"\n{name}: {dict(seen)}")
