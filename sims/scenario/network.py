"""Sections of a scenario about time: links, clocks and presence."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from gossipfl.settings.table import Table
from sims.errors import InvalidScenario

__all__ = [
    "ChargingChurn",
    "ChurnEvent",
    "ChurnSection",
    "ConstantDelay",
    "CycleChurn",
    "Delay",
    "Lengths",
    "LinkChange",
    "LinksSection",
    "LognormalDelay",
    "MatrixDelay",
    "NetworkSection",
    "NoChurn",
    "SessionChurn",
    "SharedLink",
    "TraceChurn",
    "UniformDelay",
]


class Section(Table):
    """A table of a scenario."""

    _wrong = InvalidScenario


class ConstantDelay(Section):
    """Every message takes the same time."""

    kind: Literal["constant"] = "constant"
    seconds: float = Field(0.0, ge=0, description="time from sender to receiver")


class UniformDelay(Section):
    """Delays spread evenly between two bounds."""

    kind: Literal["uniform"]
    low: float = Field(ge=0, description="shortest delay, seconds")
    high: float = Field(gt=0, description="longest delay, seconds")

    @model_validator(mode="after")
    def _ordered(self) -> UniformDelay:
        if self.low > self.high:
            raise ValueError(f"low ({self.low}) must not be above high ({self.high})")
        return self


class LognormalDelay(Section):
    """Delays whose logarithm is normal: most are short, a few very long."""

    kind: Literal["lognormal"]
    median: float = Field(gt=0, description="median delay, seconds")
    sigma: float = Field(gt=0, description="standard deviation of the delay's logarithm")


class MatrixDelay(Section):
    """Half the measured round-trip time between two hosts, at one of which every node sits."""

    kind: Literal["matrix"]
    file: Path = Field(description=".npz with an array 'rtt', .npy or .csv; square, milliseconds")
    hosts: list[Annotated[int, Field(ge=0)]] | None = Field(
        None, description="number of each node's host, a row of the matrix; drawn at random if unset"
    )


Delay = Annotated[ConstantDelay | UniformDelay | LognormalDelay | MatrixDelay, Field(discriminator="kind")]


Numbers = tuple[Annotated[int, Field(ge=0)], ...]
MOST_MBIT = 1e6
"""Mbit/s of the fastest link there is; what is above was meant in another unit."""
Speed = Annotated[float, Field(gt=0, le=MOST_MBIT)]


class SharedLink(Section):
    """A link through which several nodes reach all others, say that of an office or a dormitory."""

    nodes: Numbers = Field(min_length=1, description="numbers of the nodes behind it")
    up: Speed | None = Field(None, description="Mbit/s that these nodes together send to others")
    down: Speed | None = Field(None, description="Mbit/s that they together receive from others")

    @model_validator(mode="after")
    def _has_a_speed(self) -> SharedLink:
        if self.up is None and self.down is None:
            raise ValueError("a shared link has a speed: expected up, down or both, in Mbit/s")
        return self


class LinkChange(Section):
    """A time during which links are slower or faster."""

    since: float = Field(0.0, ge=0, description="seconds after the start at which it begins")
    until: float = Field(gt=0, description="when it ends, seconds after the start")
    every: float | None = Field(None, gt=0, description="seconds after which it comes again; once if unset")
    factor: float = Field(gt=0, description="what uplinks and downlinks are multiplied by meanwhile")
    nodes: Numbers = Field((), description="numbers of the nodes whose links change; all if empty")

    @model_validator(mode="after")
    def _in_order(self) -> LinkChange:
        lasts = self.until - self.since
        if lasts <= 0 or (self.every is not None and lasts >= self.every):
            raise ValueError(
                f"a change begins before it ends and ends before it comes again, got since = {self.since:g}, "
                f"until = {self.until:g}" + ("" if self.every is None else f", every = {self.every:g}")
            )
        return self


class LinksSection(Section):
    """How fast the nodes' links are: each its own uplink and downlink, and the paths between hosts."""

    up: Speed | tuple[Speed, ...] | None = Field(
        None, description="uplink, Mbit/s: of every node, or a number for each; without limit if unset"
    )
    down: Speed | tuple[Speed, ...] | None = Field(
        None, description="downlink, Mbit/s: of every node, or a number for each; without limit if unset"
    )
    file: Path | None = Field(
        None,
        description="measured speeds between hosts: .npz with an array 'bandwidth', .npy or .csv; square, Mbit/s",
    )
    hosts: Numbers | None = Field(
        None,
        description="number of each node's host, a row of the file; if unset as network.delay.hosts, else drawn, "
        "the same as for a matrix of delays with as many hosts",
    )
    slow: float = Field(
        0.0, ge=0, lt=1, description="share of the nodes whose links are slow, drawn at random"
    )
    slowness: float = Field(10.0, gt=1, description="how many times slower these nodes' links are")
    both_ways: float = Field(
        1.0,
        gt=0,
        le=1,
        description="share of its speed that a link has each way while rows pass it both ways, in rounds: 0.8 for "
        "TCP through one queue each way, 1 where acknowledgements do not wait behind rows",
    )
    shared: tuple[SharedLink, ...] = Field((), description="links that several nodes share, in rounds")
    changes: tuple[LinkChange, ...] = Field((), description="times of slower or faster links")

    @model_validator(mode="after")
    def _shared_once(self) -> LinksSection:
        behind = [node for each in self.shared for node in each.nodes]
        if len(set(behind)) < len(behind):
            raise ValueError("a node is behind one shared link at most")
        return self

    @model_validator(mode="after")
    def _not_in_vain(self) -> LinksSection:
        if self.hosts is not None and self.file is None:
            raise ValueError("hosts are rows of links.file, which is not there: expected a file beside them")
        if self.slowness != type(self).model_fields["slowness"].default and not self.slow:
            raise ValueError("slowness is of slow nodes, of which there are none: expected slow beside it")
        return self


class NetworkSection(Section):
    """Clocks and links."""

    period: float = Field(1.0, gt=0, description="seconds between two wake-ups of a node: one round")
    jitter: float = Field(
        0.0, ge=0, lt=1, description="each period is drawn evenly from period · (1 ± jitter)"
    )
    period_sigma: float = Field(
        0.0, ge=0, description="nodes differ in speed: standard deviation of the logarithm of their periods"
    )
    phase: Literal["random", "together"] = Field(
        "random", description="first wake-up: anywhere in the first period, or all at once in order of node"
    )
    delay: Delay = ConstantDelay()
    bandwidth: Speed | None = Field(
        None, description="uplink of a node, Mbit/s; its messages leave one after the other"
    )
    links: LinksSection | None = Field(
        None, description="speeds of the nodes' links; without the table only `bandwidth` counts"
    )
    deadline: float | None = Field(
        None,
        gt=0,
        description="in rounds: seconds that an exchange waits for rows; as long as it takes if unset",
    )
    loss: float = Field(0.0, ge=0, lt=1, description="probability that a message is lost on its way")
    choose: Literal["any", "online"] = Field(
        "any", description="choose among all neighbours, or only among those online at that moment"
    )

    @model_validator(mode="before")
    @classmethod
    def _constant_unless_said(cls, values: Any) -> Any:
        delay = values.get("delay") if isinstance(values, dict) else None
        if isinstance(delay, dict) and "kind" not in delay:
            return {**values, "delay": {"kind": "constant", **delay}}
        return values

    @model_validator(mode="after")
    def _one_uplink(self) -> NetworkSection:
        if self.bandwidth is not None and self.links is not None and self.links.up is not None:
            raise ValueError("bandwidth and links.up are both the speed of uplinks: leave one of them out")
        return self

    @model_validator(mode="after")
    def _own_links_have_speeds(self) -> NetworkSection:
        """What is of nodes' own links would be without effect on those without limit, and on measured paths."""
        links = self.links
        if links is not None and self.bandwidth is None and links.up is None and links.down is None:
            if links.both_ways < 1 and not (links.file or links.shared):
                raise ValueError(
                    "links.both_ways is a share of speeds: expected links.up, .down, .file or .shared"
                )
            given = [name for name in ("slow", "changes") if getattr(links, name)]
            if given:
                raise ValueError(
                    f"links.{' and links.'.join(given)} would be without effect, as uplinks and downlinks have no"
                    " limit; expected links.up, links.down or bandwidth beside it"
                    " (paths of links.file stay as they are)"
                )
        return self


class Lengths(Section):
    """Distribution of the lengths of sessions."""

    distribution: Literal["lognormal", "weibull"] = "lognormal"
    median: float = Field(gt=0, description="seconds")
    spread: float = Field(
        gt=0, description="lognormal: standard deviation of the logarithm; Weibull: the shape parameter"
    )


class NoChurn(Section):
    """All nodes are always online."""

    kind: Literal["none"] = "none"


class CycleChurn(Section):
    """Each node is offline for each of its periods independently."""

    kind: Literal["cycle"]
    offline: float = Field(ge=0, lt=1, description="probability of being offline for a period")


class SessionChurn(Section):
    """Nodes come and go in sessions (Stutzbach & Rejaie 2006 fit both distributions to real networks)."""

    kind: Literal["sessions"]
    online: Lengths
    offline: Lengths
    day: float = Field(86_400.0, gt=0, description="seconds of a day")
    night: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="absences that begin at time t of a day last (1 − night · sin(2πt/day)) times as long",
    )


class TraceChurn(Section):
    """Sessions as recorded: a CSV file with the columns node,start,end in seconds."""

    kind: Literal["trace"]
    file: Path = Field(description="CSV with one line for each session")


class ChargingChurn(Section):
    """Phones take part while they charge: most nights, in the time zones where they are.

    A phone on a metered link does so for the first part of the night only, which bounds its traffic. One that is
    off duty comes for a while only, to take a model.
    """

    kind: Literal["charging"]
    zones: tuple[Annotated[float, Field(ge=-14, le=14)], ...] = Field(
        (0.0,),
        min_length=1,
        description="hours ahead of UTC; each phone is in one of them at random, and runs start at 0:00 UTC",
    )
    plugged: float = Field(23.0, ge=0, lt=24, description="mean local time at which charging begins, hours")
    plugged_spread: float = Field(1.0, ge=0, le=6, description="its standard deviation, hours")
    hours: float = Field(7.0, gt=0, le=20, description="median length of a night's charging")
    hours_spread: float = Field(0.25, ge=0, le=2, description="standard deviation of its logarithm")
    nights: float = Field(0.9, gt=0, le=1, description="probability that a phone charges in a night")
    metered: float = Field(0.0, ge=0, le=1, description="share of the phones whose link is metered")
    metered_time: float = Field(
        0.25,
        ge=0,
        le=1,
        description="share of a night's charging for which a phone on a metered link takes part",
    )
    duty: float = Field(
        1.0, gt=0, le=1, description="probability that a phone is on duty in a night, drawn for each night"
    )
    off_duty: float = Field(
        0.0,
        ge=0,
        le=20,
        description="hours of a night's charging in which a phone off duty takes part, at most",
    )


class ChurnEvent(Section):
    """One planned change."""

    at: float = Field(ge=0, description="when, in rounds")
    action: Literal["drop", "return", "split", "heal", "join"] = Field(
        description="drop: a share of the nodes leaves; return: those come back; split: the network falls into "
        "parts between which nothing passes; heal: it is whole again; join: nodes that were not there yet"
    )
    fraction: float | None = Field(None, gt=0, le=1, description="drop: share of the nodes")
    parts: int | None = Field(None, ge=2, le=100, description="split: number of parts of equal expected size")
    nodes: int | None = Field(None, ge=1, description="join: how many of the scenario's nodes join now")

    @model_validator(mode="after")
    def _complete(self) -> ChurnEvent:
        needed = {"drop": "fraction", "join": "nodes"}.get(self.action)
        allowed = {"drop": "fraction", "join": "nodes", "split": "parts"}.get(self.action)
        if needed and getattr(self, needed) is None:
            raise ValueError(f"a {self.action!r} event needs {needed!r}")
        for name in ("fraction", "parts", "nodes"):
            if name != allowed and getattr(self, name) is not None:
                raise ValueError(f"a {self.action!r} event takes no {name!r}")
        return self


ChurnProcess = Annotated[
    NoChurn | CycleChurn | SessionChurn | TraceChurn | ChargingChurn, Field(discriminator="kind")
]


class ChurnSection(Section):
    """Presence of nodes over time. An offline node neither sends nor receives, and keeps its model."""

    process: ChurnProcess = NoChurn()
    events: tuple[ChurnEvent, ...] = ()
