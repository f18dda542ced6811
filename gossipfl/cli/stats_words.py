"""``gossipfl stats words``: a vocabulary of words that many members use, agreed on without showing anybody's."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gossipfl.cli.options import HomeOption, JsonOption, LingerOption, MinutesOption, RosterOption, tell

if TYPE_CHECKING:
    from gossipfl.peer.store.home import Home
    from gossipfl.settings import PeerSettings
    from gossipfl.tasks.words.hitters import Offer, WordPlan

__all__ = ["words"]


def words(
    *,
    home: HomeOption,
    member: RosterOption = None,
    language: Annotated[
        str | None,
        typer.Option("--language", help="Language of the public list; that of the task if not given."),
    ] = None,
    size: Annotated[
        int | None,
        typer.Option("--words", help="Words of the vocabulary to be made; those of the task if not given."),
    ] = None,
    room: Annotated[
        int | None,
        typer.Option("--room", help="Places in it for words agreed on; a tenth if not given."),
    ] = None,
    least: Annotated[int, typer.Option("--least", help="A word that fewer members use is not found.")] = 3,
    epsilon: Annotated[
        float, typer.Option("--epsilon", help="What all that a member tells spends of its privacy.")
    ] = 8.0,
    delta: Annotated[
        float | None,
        typer.Option("--delta", help="δ beside it; members to the power of −1.1 if not given."),
    ] = None,
    offered: Annotated[
        int, typer.Option("--offered", help="Most words of a member that the public list has.")
    ] = 24,
    own: Annotated[int, typer.Option("--own", help="Most words of a member that the public list lacks.")] = 2,
    rounds: Annotated[
        int, typer.Option("--rounds", help="Most letters of a word that the public list lacks.")
    ] = 12,
    colluding: Annotated[
        int | None,
        typer.Option(
            "--colluding", help="Members that may pool what they know; a third of the others if not given."
        ),
    ] = None,
    linger: LingerOption = 30.0,
    minutes: MinutesOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show this owner which words would be counted, and tell nobody.")
    ] = False,
    json_output: JsonOption = False,
) -> None:
    """Agree with the other members on a vocabulary, for the task next-word, before learning.

    Counts how many members use a word: those of a public list, and by the rounds of a prefix tree those that it
    lacks. Each member tells its counts masked and with noise, so that all learn the noisy sums and nothing else;
    a word of fewer members than --least is not found. The vocabulary is kept in the home. Run it at all members
    at the same time, with the same options, while none of their peers runs.
    """
    if not member:
        raise typer.BadParameter("say who all members are, this one included", param_hint="--member")
    import trio

    from gossipfl.cli.gathering import until_signalled
    from gossipfl.network import load_or_create_identity
    from gossipfl.nurseries import naming_the_first_error
    from gossipfl.peer.statistics.word_phase import agree_on_words, word_budget
    from gossipfl.peer.store.home import Home
    from gossipfl.peer.task_paths import with_task_paths
    from gossipfl.settings import load_settings
    from gossipfl.tasks.words.hitters import WordPlan, offer_of

    def report(line: str) -> None:
        typer.echo(line, err=True)

    place = Home(home)
    place.require()
    settings = with_task_paths(load_settings(place.settings), home)
    roster = sorted({*member, load_or_create_identity(home).peer_id})
    options = _task_options(settings)
    wanted = size or options["words"]
    plan = WordPlan(
        members=len(roster),
        language=language or options["language"],
        words=wanted,
        room=max(1, wanted // 10) if room is None else room,
        offered=offered,
        own=own,
        rounds=rounds,
        least=least,
        epsilon=epsilon,
        delta=delta or 0.0,
        colluding=-1 if colluding is None else colluding,
    )
    with place.locked():
        offer = offer_of(_uses(place, settings), plan)
        word_budget(place, settings, plan).close()
    for line in _plan_lines(plan, offer):
        report(line)
    if dry_run:
        said = [*offer.listed, *offer.own]
        tell(
            {"listed": list(offer.listed), "own": list(offer.own)},
            [f"These would be counted: {', '.join(said) or 'none'}"],
            as_json=json_output,
        )
        return
    with naming_the_first_error():
        agreed = trio.run(
            until_signalled,
            lambda: agree_on_words(
                place, settings, plan=plan, offer=offer, roster=roster, linger=linger, report=report
            ),
            minutes,
        )
    counts = {word: round(count, 1) for word, count in agreed.counts.items()}
    told = (
        [f"{len(counts)} words, each with its noisy count of members:"] if counts else ["no word was found"]
    )
    told += [f"  {word}  {count}" for word, count in counts.items()]
    told += [
        f"ε = {agreed.epsilon:.3g} at δ = {plan.delta:.2g} is what this peer has spent so far",
        f"digest {agreed.vocabulary.digest}",
        f"Kept in {place.vocabulary}. All members must have this digest. Use it in new peers: --option "
        f"vocabulary={place.vocabulary.absolute()} --option words={plan.words}",
    ]
    values = {
        "counts": counts,
        "epsilon": agreed.epsilon,
        "delta": plan.delta,
        "threshold": plan.threshold,
        "noise": plan.noise,
        "digest": agreed.vocabulary.digest,
        "file": str(place.vocabulary),
    }
    tell(values, told, as_json=json_output)


def _task_options(settings: PeerSettings) -> dict[str, Any]:
    """Language and size of the peer's vocabulary."""
    from gossipfl.errors import SettingError
    from gossipfl.tasks.words.models import SIZES

    if settings.task.name != "next-word":
        raise SettingError(
            "words are agreed on for a task that suggests words",
            expected="task.name = 'next-word'",
            got=settings.task.name,
        )
    options = settings.task.options
    vocabulary = str(options.get("vocabulary", "en"))
    of_size = SIZES.get(str(options.get("size", "small")))
    return {
        "language": "en" if "/" in vocabulary or Path(vocabulary).suffix else vocabulary,
        "words": int(options.get("words", 0)) or (of_size.words if of_size else 5_000),
    }


def _uses(home: Home, settings: PeerSettings) -> dict[str, int]:
    """How often the owner has written each word: the texts of the task, and what was typed."""
    from gossipfl.keyboard.earlier import earlier_texts
    from gossipfl.keyboard.offering import uses_of
    from gossipfl.keyboard.store import TypingStore

    texts = [*earlier_texts({"text": "sotu", **settings.task.options})]
    if settings.keyboard.enabled:
        store = TypingStore(home.typing, settings.keyboard)
        texts += [each.text for each in store.texts()]
        store.close()
    return uses_of(texts)


def _plan_lines(plan: WordPlan, offer: Offer) -> list[str]:
    told = len(offer.listed) + len(offer.own)
    return [
        f"{told} words of this peer's owner are counted, masked and with noise, with those of {plan.members - 1} "
        f"others: ε = {plan.epsilon:g} at δ = {plan.delta:.2g}, even if {plan.colluding} of them collude",
        f"a word is found once some {plan.threshold:.0f} of {plan.members} members use it",
    ]
