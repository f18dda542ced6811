"""The gatekeeper of one node, among neighbours whose models are made up."""

import statistics

import pytest
import torch

from gossipfl.algorithms.gate import Arrival, Gatekeeper
from gossipfl.settings.gate import GateSettings

SIZE = 200
NOISE = torch.randn(64, SIZE, generator=torch.Generator().manual_seed(0))
OWN = 10 * NOISE[:1] / NOISE[:1].norm()


class Node:
    """A node with its own model and age, and a clock that each message moves on."""

    def __init__(self, own=OWN, age=1000, loss=None):
        self.gate, self.own, self.age, self.now, self.events = Gatekeeper(), own, age, 0.0, 0
        self.losses, self.neighbours = loss, 0

    def hear(self, sender, row, *, age=1000, seconds=1.0):
        self.now += seconds
        self.events += 1
        return self.gate.admit(
            Arrival(
                sender=sender,
                own=self.own,
                own_age=self.age,
                received=row,
                age=age,
                now=self.now,
                version=(1, self.events),
                losses=self.losses,
                neighbours=self.neighbours,
            )
        )

    def hear_neighbours(self, *, times=1, distance=0.5):
        for time in range(times):
            for number in range(5):
                step = NOISE[1 + 5 * time + number][None]
                self.hear(f"peer {number}", OWN + distance * step / step.norm())


@pytest.mark.parametrize(
    ("age", "reason"), [(0, "far"), (3, "far"), (62, "far"), (63, "norm"), (10**6, "norm")]
)
def test_a_newcomer_is_small_beside_those_who_have_learned_for_long(age, reason):
    node = Node()
    node.hear_neighbours(times=2)
    admission = node.hear("newcomer", OWN / 8, age=age)
    assert admission.reason == reason
    assert 0 <= admission.share < 0.2


@pytest.mark.parametrize("peak", [None, 3.0])
def test_a_change_of_a_single_number_is_limited_where_that_is_asked_for(peak):
    """All of it is no longer than the differences of honest models: one bias can suggest a word everywhere."""
    node = Node()
    node.gate = Gatekeeper(GateSettings(peak=peak))
    node.hear_neighbours(times=2)
    pushed = OWN.clone()
    pushed[0, 7] += 0.8
    admission = node.hear("liar", pushed)
    if peak is None:
        assert (admission.reason, admission.share) == ("plausible", 1.0)
        return
    steps = [NOISE[1 + 5 + number] for number in range(5)]
    usual = [float(0.5 * step.abs().max() / step.norm()) for step in steps]
    assert admission.reason == "far"
    assert admission.share * 0.8 == pytest.approx(3 * statistics.median([*usual, 0.8]), rel=1e-5)
    assert node.hear("peer 0", OWN + 0.5 * NOISE[30:31] / NOISE[30].norm()).share == 1


def test_who_says_opposite_things_is_refused_unless_it_has_just_begun():
    node = Node()
    node.hear_neighbours(times=2)
    assert node.hear("liar", -OWN, age=1000).reason == "opposed"
    assert node.hear("newcomer", -OWN / 5, age=1).reason == "far"


@pytest.mark.parametrize(("honest", "liars"), [(1, 2), (2, 2), (2, 4), (3, 6), (5, 9)])
def test_many_who_say_the_opposite_do_not_make_it_usual(honest, liars):
    """Not even where they are heard first and most are of their kind: a median would let all of them in."""
    node = Node()
    heard = {f"liar {each}": -OWN for each in range(liars)}
    heard |= {f"peer {each}": OWN + 0.05 * NOISE[each][None] for each in range(honest)}
    for name, row in heard.items():
        node.hear(name, row)
    assert node.hear("liar 0", -1.1 * OWN).reason == "opposed"


@pytest.mark.parametrize("liars", [0, 1])
def test_a_node_that_was_turned_around_takes_in_its_neighbours(liars):
    node = Node(own=-OWN)
    heard = {f"liar {each}": -OWN for each in range(liars)}
    heard |= {f"peer {each}": OWN + 0.05 * NOISE[each][None] for each in range(6)}
    for name, row in heard.items():
        node.hear(name, row)
    assert node.hear("peer 2", 1.1 * OWN).reason != "opposed"


def test_who_stays_apart_from_all_is_refused():
    node = Node()
    constant = OWN + 1.2 * NOISE[60:61] / NOISE[60].norm()
    reasons = []
    for number in range(5):
        node.hear_neighbours(times=2)
        reasons.append(node.hear("liar", constant, age=1000 + number).reason)
    assert reasons[0] == "plausible" and reasons[-1] == "unmoved"


def test_a_node_that_was_led_away_does_not_blame_its_neighbours():
    node = Node(own=OWN + 3 * NOISE[61:62] / NOISE[61].norm())
    reasons = {node.hear(f"peer {number}", OWN).reason for _ in range(6) for number in range(5)}
    assert reasons <= {"plausible", "share"}


def losses_of(own_loss):
    """The loss of one's own model, and a far worse one of every mean with another."""
    return lambda row: (own_loss if torch.equal(row, OWN) else 9.0, 2.3)


def test_before_a_node_has_learned_models_that_do_worse_are_doubtful_and_no_more():
    node = Node(age=0, loss=losses_of(2.3))
    heard = [node.hear("peer", OWN + step / step.norm(), age=5, seconds=0.5) for step in NOISE[40:44, None]]
    assert (heard[0].reason, heard[0].share) == ("loss", 0.25)
    assert not any(each.is_refusal for each in heard)


@pytest.mark.parametrize(
    ("row", "reason"),
    [(torch.full_like(OWN, 1e6), "norm"), (torch.zeros_like(OWN), "norm"), (-OWN, "opposed")],
    ids=["huge", "zeros", "flipped"],
)
@pytest.mark.parametrize("neighbours", [0, 1, 8])
def test_what_no_honest_model_looks_like_is_refused_from_the_first_message_on(row, reason, neighbours):
    node = Node(age=3, loss=losses_of(2.3))
    for _ in range(neighbours):
        node.hear_neighbours()
    heard = [node.hear("liar", row, age=100, seconds=0.1) for _ in range(3)]
    assert {(each.reason, each.share) for each in heard} == {(reason, 0.0)}


def test_at_first_models_that_do_worse_are_merged_ever_less_and_never_refused():
    node = Node(loss=losses_of(0.1))
    node.hear_neighbours()
    node.losses = lambda row: (0.1 if torch.equal(row, OWN) else 30.0, 2.3)
    heard = [node.hear("peer", OWN + step / step.norm(), seconds=0.01) for step in NOISE[40:48, None]]
    assert [round(1 / each.share) for each in heard[:3]] == [4, 8, 16]
    assert {each.reason for each in heard} == {"loss"} and min(each.share for each in heard) > 0.0009
    assert not node.gate.is_quarantined("peer", now=node.now)


def test_later_only_the_first_is_merged():
    node = Node(loss=losses_of(0.1))
    for _ in range(41):
        node.hear_neighbours()
    node.losses = lambda row: (0.1 if torch.equal(row, OWN) else 30.0, 2.3)
    heard = [node.hear("liar", OWN + step / step.norm(), seconds=0.5) for step in NOISE[40:46, None]]
    assert [each.reason for each in heard] == ["loss"] * 4 + ["quarantined"] * 2
    assert [each.is_refusal for each in heard] == [False] + [True] * 5


def test_who_has_not_trained_meanwhile_is_not_blamed_for_what_it_repeats():
    node = Node()
    node.hear_neighbours(times=2)
    apart = step_away(40, 2)
    heard = [node.hear("slow", apart + 1e-3 * step_away(number), age=900) for number in range(10)]
    assert heard[0].reason == "far" or heard[0].reason == "plausible"
    assert not any(each.is_refusal for each in heard)
    assert max(each.share for each in heard[1:]) <= 1 / 64
    heard = [node.hear("liar", step_away(41, 2), age=900 + number) for number in range(4)]
    assert [each.is_refusal for each in heard] == [False, False, False, True]


def test_a_model_of_its_own_that_is_handed_back_changes_little_and_sets_no_pace():
    node = Node()
    node.hear_neighbours(times=2)
    before, node.own = node.own, OWN + NOISE[50:51] / NOISE[50].norm()
    admission = node.hear("liar", before + 0.01 * NOISE[51:52] / NOISE[51].norm(), age=2**40)
    assert (admission.reason, admission.is_surplus, admission.age) == ("echo", True, node.age)
    assert 0 < admission.share < 0.02
    assert node.hear("peer 1", before + 0.5 * NOISE[52:53] / NOISE[52].norm()).reason == "plausible"


def test_what_a_sender_pushes_beyond_its_share_is_surplus():
    node = Node()
    surplus = []
    for _ in range(30):
        node.hear_neighbours()
        models = [OWN + step / step.norm() for step in NOISE[50:60, None]]
        surplus += [node.hear("liar", each, seconds=0.1).is_surplus for each in models]
    assert not any(surplus[:2]) and sum(surplus) > 0.7 * len(surplus)
    assert not node.hear("peer 0", OWN + NOISE[49] / NOISE[49].norm()).is_surplus


def step_away(number, far=0.5):
    return OWN + far * NOISE[number : number + 1] / NOISE[number].norm()


def test_until_three_have_been_heard_models_are_merged_a_small_part_of_the_way():
    node = Node(age=5)
    node.neighbours = 7
    first = [node.hear("liar", step_away(40, 5), age=2**40, seconds=0.1) for _ in range(4)]
    first.append(node.hear("peer 0", step_away(1), age=6))
    assert {(each.reason, each.share, each.age, each.is_surplus) for each in first[:4]} == {
        ("first", 1 / 64, 5, False)
    }
    assert first[4].reason == "first"
    assert [node.hear(f"peer {number}", step_away(number), age=6).reason for number in (1, 2)] == [
        "plausible"
    ] * 2
    assert node.hear("another liar", step_away(41, 5), age=2**40).reason == "far"
    assert node.hear("liar", step_away(40, 5), age=2**40).reason == "unmoved"


def test_after_a_long_absence_a_node_does_not_blame_the_first_that_it_hears():
    node = Node(own=step_away(42, 6), age=100)
    node.neighbours = 7
    fast = [node.hear("fast", step_away(1, 0.01), age=1000 + event, seconds=0.25) for event in range(6)]
    assert {each.reason for each in fast} == {"first"}
    others = [node.hear(f"peer {number}", step_away(number, 0.01), age=1000) for number in (2, 3)]
    assert not any(each.is_refusal for each in [*others, node.hear("fast", step_away(1, 0.01), age=1010)])


@pytest.mark.parametrize(("neighbours", "small"), [(2, 0), (3, 40)])
def test_a_node_does_not_wait_for_others_where_there_are_none_or_for_ever(neighbours, small):
    node = Node(age=5)
    node.neighbours = neighbours
    models = [node.hear("peer", step_away(number % 64), age=6, seconds=0.25) for number in range(60)]
    reasons = [each.reason for each in models]
    assert reasons == ["first"] * small + ["plausible"] * (60 - small)


def test_after_its_model_was_replaced_a_node_waits_again():
    node = Node()
    node.neighbours = 3
    node.hear_neighbours(times=2)
    assert node.hear("peer 1", step_away(30)).reason == "plausible"
    node.gate.forget_comparisons()
    assert node.hear("peer 1", step_away(31)).reason == "first"


def test_ones_own_model_is_plausible_however_bad_it_is():
    node = Node(loss=losses_of(50.0))
    assert {node.hear("liar", OWN, age=2**40).reason for _ in range(5)} == {"plausible"}


def test_nodes_that_begin_alike_train_nevertheless():
    node = Node(age=0)
    node.neighbours = 7
    heard = [node.hear(f"peer {number % 7}", OWN, age=1) for number in range(20)]
    assert not any(each.is_surplus for each in heard)


def test_a_model_that_comes_again_as_a_newer_one_is_merged_a_small_part_of_the_way():
    node = Node()
    node.hear_neighbours(times=2)
    heard = [node.hear("liar", step_away(40), age=2**40).share for _ in range(3)]
    assert heard == [1.0, 1 / 64, 1 / 64]


def test_a_burst_of_one_sender_is_soon_merged_a_smaller_part_of_the_way():
    node = Node()
    node.hear_neighbours(times=4)
    burst = [node.hear("liar", step_away(number, 0.4), seconds=0.01).share for number in range(30, 42)]
    assert burst[:2] == [1.0, 1.0] and max(burst[5:]) < 0.5


def test_a_flood_before_others_are_heard_sets_no_pace_of_training():
    node = Node(age=5)
    node.neighbours = 7
    flood = [node.hear("liar", step_away(number % 64), age=6, seconds=0.01) for number in range(200)]
    assert [each.is_surplus for each in flood] == [False] * 32 + [True] * 168


def test_a_copy_of_a_model_that_is_itself_far_too_large_is_judged_by_its_norm():
    node = Node(own=1000 * OWN)
    for number in range(5):
        node.hear(f"peer {number}", OWN + NOISE[number][None] / 100)
    admission = node.hear("echo", node.own.clone())
    assert (admission.reason, admission.distance) == ("norm", 0.0)


@pytest.mark.parametrize(
    ("distance", "share"), [(0.5, 0.25), (16.0, GateSettings().radius * 0.5 / 16.0)], ids=["near", "far"]
)
def test_a_doubtful_model_is_drawn_no_further_than_honest_ones_are_away(distance, share):
    node = Node()
    node.hear_neighbours(times=2)
    node.losses = lambda row: (5.0, 1.0)
    step = NOISE[60][None]
    admission = node.hear("odd", OWN + distance * step / step.norm())
    assert admission.reason == "loss"
    assert admission.share == pytest.approx(share, rel=0.05)
