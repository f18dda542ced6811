"""Files of a peer's membership: its network, certificate, secrets and keys."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from gossipfl.errors import GossipflError, HomeError, InvalidAddress, MembershipError
from gossipfl.files import named_errors, write_atomically
from gossipfl.membership import SECRET_BYTES, Authority, Network, Signed
from gossipfl.membership.codec import Reader, field
from gossipfl.membership.signing import MOST_STATEMENT_BYTES
from gossipfl.membership.texts import decoded, encoded
from gossipfl.network import Identity, parse_address
from gossipfl.peer.membership.key_files import KEY_HEADER, file_name, read_keys, require_private

__all__ = ["MembershipStore"]

Content = TypeVar("Content")

_SECRET_PREFIX: Final = "gossipfl-secret-"  # noqa: S105  (the start of a line)
_REMEDY: Final = (
    "Restore it from a backup, or join the network again: gossipfl network join INVITATION --home {home}."
)


@dataclass(frozen=True, slots=True)
class MembershipStore:
    """Paths and contents of the directory ``membership`` in a peer's home.

    Parameters
    ----------
    directory : Path
        Created with mode 0700 when something is first written.
    """

    directory: Path

    @property
    def network_file(self) -> Path:
        """The network, and all lasting statements about it."""
        return self.directory / "network"

    @property
    def certificate_file(self) -> Path:
        """The peer's own certificate."""
        return self.directory / "certificate"

    @property
    def secret_file(self) -> Path:
        """The pre-shared secret, as a line of text."""
        return self.directory / "secret"

    @property
    def introducers_file(self) -> Path:
        """Addresses of the peer that admitted this one, one a line."""
        return self.directory / "introducers"

    @property
    def keys_directory(self) -> Path:
        """Network keys stored here."""
        return self.directory / "keys"

    @property
    def invitations_directory(self) -> Path:
        """Invitations that this peer has issued."""
        return self.directory / "invitations"

    def has_certificate(self) -> bool:
        """Return whether the peer has joined a network."""
        return self._exists(self.certificate_file)

    def has_secret(self) -> bool:
        """Return whether there is a pre-shared secret."""
        return self._exists(self.secret_file)

    def secret(self) -> bytes:
        """Read the pre-shared secret, 32 bytes.

        Raises
        ------
        MembershipError
            There is none, or it is invalid.
        CorruptIdentity
            It is accessible to other users.
        """
        if not self.has_secret():
            raise MembershipError(
                "this peer has no secret",
                expected=f"a file {self.secret_file}",
                remedy="Generate one with `gossipfl network secret`, or copy that of another peer of the network.",
            )
        require_private(self.secret_file)
        text = self._read(self.secret_file).decode("ascii", "replace").strip()
        secret = decoded(text.removeprefix(_SECRET_PREFIX)) if text.startswith(_SECRET_PREFIX) else None
        if secret is None or len(secret) != SECRET_BYTES:
            raise MembershipError(
                f"{self.secret_file} holds no valid secret",
                expected=f"a line {_SECRET_PREFIX}… made by `gossipfl network secret`",
            )
        return secret

    def write_secret(self, secret: bytes) -> str:
        """Store a secret; return its line, for the files of other peers."""
        text = f"{_SECRET_PREFIX}{encoded(secret)}"
        self._write(self.secret_file, f"{text}\n".encode())
        return text

    def authority(self) -> Authority:
        """Read the stored knowledge of the network.

        Raises
        ------
        MembershipError
            The peer has joined none, or the file is damaged.
        """
        if not self._exists(self.network_file):
            raise MembershipError(
                "this peer belongs to no network",
                expected=f"a file {self.network_file}",
                remedy="Create one (`gossipfl network create`) or join one (`gossipfl network join INVITATION`).",
            )
        return self._parsed(self.network_file, _authority_in)

    def write_authority(self, authority: Authority) -> None:
        """Store the network and all lasting statements durably."""
        statements = (Signed(body=authority.network), *authority.statements())
        self._write(self.network_file, b"".join(field(each.to_bytes(), size=2) for each in statements))

    def merge(self, authority: Authority) -> None:
        """Store an authority, merged with what is stored already, even if its keys have been replaced since."""
        with self._locked():
            if self._exists(self.network_file):
                authority.restore(self.authority().statements())
            self.write_authority(authority)

    def version(self) -> tuple[int, ...]:
        """Return a value that changes whenever the network or certificate is written."""
        with named_errors(f"cannot look into {self.directory}"):
            files = [each.stat() for each in (self.network_file, self.certificate_file) if each.exists()]
        return tuple(number for each in files for number in (each.st_mtime_ns, each.st_ino))

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with named_errors(f"cannot use {self.directory}"):
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self.directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                yield
            finally:
                os.close(descriptor)

    def certificate(self) -> Signed:
        """Read the peer's own certificate.

        Raises
        ------
        MembershipError
            There is none, or the file is damaged.
        """
        if not self.has_certificate():
            raise MembershipError(
                "this peer has no certificate",
                expected=f"a file {self.certificate_file}",
                remedy="Join a network by invitation: `gossipfl network join INVITATION`.",
            )
        return self._parsed(self.certificate_file, Signed.from_bytes)

    def write_certificate(self, certificate: Signed) -> None:
        """Store the peer's own certificate durably."""
        self._write(self.certificate_file, certificate.to_bytes())

    def introducers(self) -> list[str]:
        """Return the addresses, ending in /p2p/PEER_ID, of the peers that admitted this one."""
        if not self._exists(self.introducers_file):
            return []
        lines = self._read(self.introducers_file).decode("ascii", "replace").split()
        return [each for each in lines if _is_introducer(each)]

    def write_introducers(self, addresses: Sequence[str]) -> None:
        """Store the addresses of the peers that admitted this one."""
        self._write(self.introducers_file, "".join(f"{each}\n" for each in addresses).encode("ascii"))

    def network_keys(self) -> list[Identity]:
        """Read the network keys stored here.

        Raises
        ------
        CorruptIdentity
            One is damaged, or accessible to other users.
        """
        return read_keys(self.keys_directory)

    def write_keys(self, keys: Sequence[Identity], *, directory: Path | None = None) -> list[Path]:
        """Store network keys, one a file; return the files."""
        into = directory or self.keys_directory
        paths = [into / file_name(key) for key in keys]
        for path, key in zip(paths, keys, strict=True):
            self._write(path, KEY_HEADER + key.seed)
        return paths

    def _write(self, path: Path, content: bytes) -> None:
        with named_errors(f"cannot write {path}"):
            for each in (self.directory, path.parent):
                each.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_atomically(path, content)

    def _read(self, path: Path) -> bytes:
        with named_errors(f"cannot read {path}"):
            return path.read_bytes()

    def _exists(self, path: Path) -> bool:
        with named_errors(f"cannot look into {self.directory}"):
            return path.is_file()

    def _parsed(self, path: Path, parse: Callable[[bytes], Content]) -> Content:
        try:
            return parse(self._read(path))
        except HomeError:
            raise
        except GossipflError as error:
            raise MembershipError(
                f"{path} is damaged", got=error.what, remedy=_REMEDY.format(home=self.directory.parent)
            ) from error


def _is_introducer(text: str) -> bool:
    try:
        return parse_address(text, smallest_port=1).peer_id is not None
    except InvalidAddress:
        return False


def _authority_in(data: bytes) -> Authority:
    reader = Reader(data, what="network")
    first = Signed.from_bytes(reader.field(size=2, most=MOST_STATEMENT_BYTES))
    if not isinstance(first.body, Network):
        raise reader.wrong("it does not begin with a network")
    authority = Authority(first.body)
    statements = []
    while not reader.is_at_end:
        statements.append(Signed.from_bytes(reader.field(size=2, most=MOST_STATEMENT_BYTES)))
    authority.restore(statements)
    return authority
