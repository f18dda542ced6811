"""Membership of a running peer: news of its network, exchanged with other members and acted on at once."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Iterable
from typing import Any, Final

import trio

from gossipfl.errors import (
    CertificateForged,
    CertificateOfAnotherNetwork,
    ExchangeFailed,
    GossipflError,
    HomeError,
    MembershipError,
    MessageRefused,
    NotAMember,
)
from gossipfl.membership import (
    Authority,
    Certificate,
    CertificateDoor,
    Member,
    Role,
    Signed,
    vouch_for_those_of,
)
from gossipfl.moments import moment
from gossipfl.network import Handler, Host, Identity, SenderRates, limited_logger
from gossipfl.peer.membership.instalments import Instalments, newest_that_fit
from gossipfl.peer.membership.issuing import Issuer, is_due
from gossipfl.peer.membership.store import MembershipStore
from gossipfl.settings.addresses import public_key_of
from gossipfl.wire import AnyMessage, Frame, News, encode

__all__ = ["Membership"]

_LOOK_SECONDS: Final = 0.5
_NEWS_SECONDS: Final = 10.0
_EXCHANGE_SECONDS: Final = 10.0
# Half the burst that the other side allows.
_MOST_EXCHANGES: Final = 8
_LIES: Final = (CertificateForged, CertificateOfAnotherNetwork)
_log = limited_logger(__name__)
logger = logging.getLogger(__name__)


class Membership:
    """Keeps a peer's knowledge of its network up to date, on disk and with other members.

    Parameters
    ----------
    clock : callable, optional
        Returns seconds since 1970.
    """

    def __init__(
        self, store: MembershipStore, identity: Identity, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._store = store
        self._identity = identity
        self._clock = clock
        self.authority: Authority = store.authority()
        self._certificate = store.certificate()
        self._host: Host | None = None
        self._newest: list[Signed] = []
        self._instalments = Instalments(self.authority)
        self._is_renewed = False
        self._news = trio.Event()
        self._rates = SenderRates(1 / _NEWS_SECONDS, what="news")
        self._seen = store.version()
        self.member = self._own()
        self._issuer = Issuer(store, self.authority, identity)
        self.door = CertificateDoor(
            self.authority,
            certificate=lambda: self._certificate,
            issue=self._issuer.issue,
            on_learned=lambda statement: self._changed([statement]),
        )

    @property
    def certificate(self) -> Signed:
        """The peer's own certificate."""
        return self._certificate

    def attach(self, host: Host) -> None:
        """Use a host's connections from now on."""
        self._host = host

    def before(self, answer: Handler) -> Handler:
        """Return a handler that answers news here, and passes all other messages to `answer`."""

        async def answered(peer_id: str, message: AnyMessage) -> Frame:
            if isinstance(message, News):
                return await self.answer(peer_id, message)
            return await answer(peer_id, message)

        return answered

    async def answer(self, peer_id: str, message: News) -> Frame:
        """Learn another member's news, and answer with what it does not know.

        Raises
        ------
        MessageRefused
            The news is not signed correctly, or arrives too often.
        """
        self._rates.charge(peer_id, now=trio.current_time())
        self._learn_from(peer_id, message)
        statements = self._next_for(peer_id, message)
        member = None if self._host is None else self._host.members.member(peer_id)
        if member is not None and self.member.certificate.role is Role.ISSUER:
            statements += self._issuer.renewed(member, now=self._clock())  # after the rotation that it needs
        return self._frame(statements)

    async def run(self) -> None:
        """Exchange news with other members, and watch for changes by commands on disk, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch_the_disk)
            nursery.start_soon(self._push_news)
            while True:
                await trio.sleep(_NEWS_SECONDS * random.uniform(0.5, 1.5))
                connected = sorted(self._connected())
                if connected:
                    await self._compare(random.choice(connected))

    def described(self) -> dict[str, Any]:
        """Return the peer's membership as plain values, for the status."""
        certificate = self.member.certificate
        return {
            "network": self.authority.id.hex(),
            "name": self.authority.network.name,
            "role": certificate.role.name.lower(),
            "expires": self.authority.expires(self.member),
            "revoked": len(self.authority.revoked),
            "problem": None if (problem := self.problem()) is None else problem.what,
        }

    def problem(self) -> NotAMember | None:
        """Return why this peer is no longer a valid member, or None if it is one."""
        try:
            self.authority.require_valid(self.member, now=self._clock())
        except NotAMember as error:
            return error
        return None

    def _connected(self) -> frozenset[str]:
        return frozenset() if self._host is None else self._host.connected()

    async def _compare(self, peer_id: str) -> None:
        """Reconcile with a connected peer, in several exchanges if both know more than one message holds."""
        statements = [self._certificate] if self._is_renewed else []  # what was pushed may have been lost
        for _ in range(_MOST_EXCHANGES):
            reply = await self._exchange(peer_id, self._frame(statements))
            if reply is None:
                return
            try:
                self._learn_from(peer_id, reply)
            except MessageRefused as error:
                _log.warning("rejected news of the network from member %s: %s", peer_id, error)
                return
            statements = self._next_for(peer_id, reply)
            if reply.known == self.authority.digest():
                return

    def _next_for(self, peer_id: str, message: News) -> list[Signed]:
        """Return the next part of what another member may lack; nothing if it knows the same."""
        if message.known == self.authority.digest():
            self._instalments.begin_again(peer_id)
            return []
        return self._instalments.next_for(peer_id, now=self._clock())

    async def _push_news(self) -> None:
        while True:
            await self._news.wait()
            self._news = trio.Event()
            fresh, self._newest = self._newest, []
            await trio.to_thread.run_sync(self._keep)
            async with trio.open_nursery() as nursery:
                for peer_id in self._connected():
                    nursery.start_soon(self._exchange, peer_id, self._frame(newest_that_fit(fresh)))

    async def _exchange(self, peer_id: str, frame: Frame) -> News | None:
        assert self._host is not None  # noqa: S101  (tasks run once there is a host)
        try:
            reply: AnyMessage = await self._host.exchange(peer_id, (), frame, seconds=_EXCHANGE_SECONDS)
        except (ExchangeFailed, MessageRefused):
            return None
        return reply if isinstance(reply, News) else None

    async def _watch_the_disk(self) -> None:
        while True:
            await trio.sleep(_LOOK_SECONDS)
            version = self._store.version()
            if version != self._seen:
                self._seen = version
                self._reload()

    def _reload(self) -> None:
        try:
            known = self._store.authority()
            certificate = self._store.certificate()
        except GossipflError as error:
            _log.warning("the membership of this peer cannot be read: %s", error)
            return
        if known.id == self.authority.id:
            statements = [each.to_bytes() for each in known.statements()]
            self._learn(statements, now=0.0)  # verified when they arrived
            try:
                self._adopt(certificate)
            except NotAMember as error:
                _log.warning("the certificate on this peer's disk is not valid: %s", error)

    def _learn_from(self, peer_id: str, message: News) -> None:
        self._learn(message.statements, of=peer_id, now=self._clock())

    def _learn(self, statements: Iterable[bytes], *, of: str | None = None, now: float) -> None:
        """Learn what can be verified; one that is outdated, or ahead of what is known, does not void the others.

        Parameters
        ----------
        of : str, optional
            The member that told them; none if they are from this peer's disk.

        Raises
        ------
        NotAMember, MalformedStatement
            One is a lie, which no honest member passes on: the rest is not read.
        """
        learned, skipped = [], []
        try:
            for each in statements:
                statement = Signed.from_bytes(each)
                try:
                    if self._is_news(statement, of=of, now=now):
                        learned.append(statement)
                except _LIES:
                    raise
                except NotAMember as error:
                    skipped.append(error.what)
        finally:
            if skipped:
                source = f"member {of}" if of else "this peer's disk"
                _log.warning("skipped %d statements of %s: %s", len(skipped), source, skipped[0])
            if learned:
                self._changed(learned)

    def _is_news(self, statement: Signed, *, of: str | None, now: float) -> bool:
        body = statement.body
        if not isinstance(body, Certificate):
            return self.authority.learn(statement, now=now)
        if of is not None and body.subject == public_key_of(of):
            if self._host is not None:
                member = self.authority.member(statement, subject=body.subject, now=now)
                self._host.members.renew(of, member)
        elif is_due(self.authority, self.member, now=self._clock()):
            self._adopt(statement)
        return False

    def _changed(self, learned: list[Signed]) -> None:
        """Act on new statements at once: peers that may not stay are disconnected before anything else happens."""
        if self._host is not None:
            self._host.members.require()
        self._newest += learned
        self._news.set()

    def _keep(self) -> None:
        try:
            self._store.merge(self.authority)
            self._seen = self._store.version()
        except GossipflError as error:
            _log.warning("news of the network cannot be stored: %s", error)

    def _frame(self, statements: Iterable[Signed]) -> Frame:
        return encode(
            News(known=self.authority.digest(), statements=tuple(each.to_bytes() for each in statements))
        )

    def _own(self) -> Member:
        try:
            return self._verified(self._certificate)
        except NotAMember as error:
            raise MembershipError(
                f"this peer's own certificate is not valid: {error.what}",
                expected=error.expected,
                got=error.got,
                remedy="Join the network again: gossipfl network join INVITATION --home "
                f"{self._store.directory.parent}.",
            ) from error

    def _verified(self, certificate: Signed) -> Member:
        return self.authority.member(certificate, subject=self._identity.public_key, now=self._clock())

    def _adopt(self, certificate: Signed) -> None:
        """Adopt a newer certificate for this peer."""
        body = certificate.body
        if not isinstance(body, Certificate) or body.subject != self._identity.public_key:
            return
        member = self._verified(certificate)
        if not member.supersedes(self.member):
            return
        self.member, self._certificate, self._is_renewed = member, certificate, True
        self._changed([*vouch_for_those_of(self.authority, certificate, now=self._clock()), certificate])
        logger.info("this peer's certificate was renewed until %s", moment(self.authority.expires(member)))
        try:
            self._store.write_certificate(certificate)
            self._seen = self._store.version()
        except HomeError as error:
            _log.warning("the new certificate cannot be stored: %s", error)
