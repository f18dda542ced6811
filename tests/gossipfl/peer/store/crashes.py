"""A disk that remembers every change made to a directory, and what a crash between any two of them may leave.

After Pillai et al., "All file systems are not created equal" (OSDI 2014): a crash keeps what was synchronised, and
of the rest any part. Names belong to their directory, and are kept once that is synchronised; bytes belong to
their file.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Names:
    """New files of some names of a directory, at once; None of one that is gone."""

    directory: str
    files: tuple[tuple[str, str | None], ...]

    @property
    def owner(self) -> str:
        return f"names of {self.directory}"


@dataclass(frozen=True)
class Write:
    file: str
    offset: int
    content: bytes

    @property
    def owner(self) -> str:
        return self.file


@dataclass(frozen=True)
class Truncate:
    file: str
    size: int

    @property
    def owner(self) -> str:
        return self.file


@dataclass(frozen=True)
class Synchronise:
    owner: str


@dataclass(frozen=True)
class Promise:
    """What a caller was told is done."""

    what: str
    value: Any


Change = Names | Write | Truncate
Operation = Change | Synchronise | Promise


class RecordingDisk:
    """Every change made below a directory while `watching`; may refuse the changes that it is told to.

    Parameters
    ----------
    root : Path
    refuses : callable, optional
        Takes the number of a change, from 0, and says whether the disk refuses it with `error`.
    """

    def __init__(
        self, root: Path, *, refuses: Callable[[int], bool] = lambda _: False, error: int = 28
    ) -> None:
        self.root = root
        self.operations: list[Operation] = []
        self.asked = 0
        self._refuses, self._error = refuses, error
        self._open: dict[int, str] = {}
        self._files: dict[str, str] = {}
        self._made = 0

    def promise(self, what: str, value: Any) -> None:
        self.operations.append(Promise(what, value))

    @contextmanager
    def watching(self, patched) -> Iterator[None]:
        with patched.context() as patch:
            for name in (
                "open",
                "close",
                "write",
                "ftruncate",
                "fsync",
                "replace",
                "link",
                "unlink",
                "mkdir",
            ):
                patch.setattr(os, name, self._wrapped(name, getattr(os, name)))
            yield

    def _name(self, path: Any) -> str | None:
        path = Path(path)
        if path == self.root:
            return "."
        return str(path.relative_to(self.root)) if self.root in path.parents else None

    def _ask(self) -> None:
        self.asked += 1
        if self._refuses(self.asked - 1):
            raise OSError(self._error, os.strerror(self._error))

    def _put(self, *entries: tuple[str, str | None]) -> None:
        directories = {_above(name) for name, _ in entries}
        assert len(directories) == 1, "a rename from one directory into another"
        self.operations.append(Names(directories.pop(), entries))
        for name, file in entries:
            if file is None:
                self._files.pop(name, None)
            else:
                self._files[name] = file

    def _new(self, kind: str) -> str:
        self._made += 1
        return f"{kind} {self._made}"

    def _wrapped(self, called: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def opened(path, flags, *args, **kwargs):
            name = None if isinstance(path, int) else self._name(path)
            creates = name is not None and flags & os.O_CREAT and name not in self._files
            if creates:
                self._ask()
            descriptor = real(path, flags, *args, **kwargs)
            if name is not None:
                if creates:
                    self._put((name, self._new("file")))
                is_directory = stat.S_ISDIR(os.fstat(descriptor).st_mode)
                self._open[descriptor] = f"names of {name}" if is_directory else self._files[name]
            return descriptor

        def closed(descriptor):
            self._open.pop(descriptor, None)
            return real(descriptor)

        def written(descriptor, content):
            file = self._open.get(descriptor)
            if file is None:
                return real(descriptor, content)
            self._ask()
            offset = os.fstat(descriptor).st_size  # nothing is ever overwritten
            count = real(descriptor, content)
            self.operations.append(Write(file, offset, bytes(content[:count])))
            return count

        def truncated(descriptor, size):
            if descriptor in self._open:
                self.operations.append(Truncate(self._open[descriptor], size))
            return real(descriptor, size)

        def synchronised(descriptor):
            if descriptor in self._open:
                self._ask()
                self.operations.append(Synchronise(self._open[descriptor]))
            # The real one is left out: no test here takes the power away.

        def replaced(source, target, **kwargs):
            names = self._name(source), self._name(target)
            if names[0] is not None:
                self._ask()
            real(source, target, **kwargs)
            if names[0] is not None:
                self._put((names[1], self._files[names[0]]), (names[0], None))

        def linked(source, target, **kwargs):
            names = self._name(source), self._name(target)
            if names[0] is not None:
                self._ask()
            real(source, target, **kwargs)
            if names[0] is not None:
                self._put((names[1], self._files[names[0]]))

        def unlinked(path, **kwargs):
            real(path, **kwargs)
            if self._name(path) is not None:
                self._put((self._name(path), None))

        def made(path, *args, **kwargs):
            if self._name(path) is not None:
                self._ask()
            real(path, *args, **kwargs)
            if self._name(path) is not None:
                self._put((self._name(path), self._new("directory")))

        return {
            "open": opened,
            "close": closed,
            "write": written,
            "ftruncate": truncated,
            "fsync": synchronised,
            "replace": replaced,
            "link": linked,
            "unlink": unlinked,
            "mkdir": made,
        }[called]


def _above(name: str) -> str:
    return str(Path(name).parent)


Tree = dict[str, bytes | None]
"""Content of each file by its name, None of a directory."""


def tree_after(changes: list[Change]) -> Tree:
    """What a directory holds after these changes, in order, as far as it can be reached."""
    files: dict[str, bytearray] = {}
    names: dict[str, str] = {}
    for change in changes:
        match change:
            case Names(files=entries):
                for name, file in entries:
                    if file is None:
                        names.pop(name, None)
                    else:
                        names[name] = file
            case Write(file, offset, content):
                held = files.setdefault(file, bytearray())
                held.extend(bytes(max(0, offset - len(held))))
                held[offset : offset + len(content)] = content
            case Truncate(file, size):
                held = files.setdefault(file, bytearray())
                held.extend(bytes(max(0, size - len(held))))
                del held[size:]
    tree: Tree = {}
    for name, file in sorted(names.items()):
        above = _above(name)
        if above != "." and tree.get(above, b"") is not None:
            continue  # its directory is not there
        tree[name] = None if file.startswith("directory") else bytes(files.get(file, b""))
    return tree


def tree_of(root: Path) -> Tree:
    """What a directory really holds."""
    return {
        str(path.relative_to(root)): None if path.is_dir() else path.read_bytes()
        for path in sorted(root.rglob("*"))
    }


def write_tree(root: Path, tree: Tree) -> None:
    root.mkdir(mode=0o700)
    for name, content in tree.items():
        path = root / name
        if content is None:
            path.mkdir(mode=0o700)
        else:
            path.write_bytes(content)
            path.chmod(0o600)


def trees_after_crashes(operations: list[Operation]) -> Iterator[tuple[Tree, dict[str, list[Any]]]]:
    """What a crash may leave, at any time, and what was promised before it; each combination once."""
    seen: set[Any] = set()
    for end in range(len(operations) + 1):
        promised: dict[str, list[Any]] = {}
        for each in operations[:end]:
            if isinstance(each, Promise):
                promised.setdefault(each.what, []).append(each.value)
        for changes in _survivors(operations[:end]):
            tree = tree_after(changes)
            key = (tuple(tree.items()), repr(promised))
            if key not in seen:
                seen.add(key)
                yield tree, promised


def _survivors(operations: list[Operation]) -> Iterator[list[Change]]:
    """The changes that a crash after these operations leaves, in all ways that matter."""
    synchronised: set[str] = set()
    changes: list[tuple[Change, bool]] = []
    for each in reversed(operations):
        if isinstance(each, Synchronise):
            synchronised.add(each.owner)
        elif not isinstance(each, Promise):
            changes.insert(0, (each, each.owner in synchronised))
    pending = [i for i, (_, is_safe) in enumerate(changes) if not is_safe]
    everything = [change for change, _ in changes]
    yield everything
    yield [change for change, is_safe in changes if is_safe]
    for i in pending:
        yield everything[:i] + everything[i + 1 :]  # without this one
        yield [
            change for j, (change, is_safe) in enumerate(changes) if is_safe or j == i
        ]  # with this one alone
        yield [
            change for j, (change, is_safe) in enumerate(changes) if is_safe or j >= i
        ]  # without earlier ones
        torn = everything[i]
        if isinstance(torn, Write) and len(torn.content) > 1:
            half = replace(torn, content=torn.content[: len(torn.content) // 2])
            yield [*everything[:i], half, *everything[i + 1 :]]
            yield [
                half if j == i else change for j, (change, is_safe) in enumerate(changes) if is_safe or j == i
            ]
