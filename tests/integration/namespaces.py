"""Networks of namespaces on this machine: hosts, switches, routers that translate addresses, and firewalls."""

import itertools
import os
import shutil
import subprocess
import sys
from contextlib import ExitStack, contextmanager

import pytest

needs_namespaces = pytest.mark.skipif(
    os.geteuid() != 0 or not all(shutil.which(each) for each in ("ip", "nft")),
    reason="network namespaces take Linux, root, and the commands `ip` (iproute2) and `nft` (nftables)",
)

#: Addresses of the public network: any that are global, as nothing here leaves the machine.
PUBLIC = "9.9.{}.{}/16"

TRANSLATION = """
table ip router {{
  chain in_advance {{ type nat hook prerouting priority dstnat; {forwarded} }}
  chain out {{ type nat hook postrouting priority srcnat; oifname "{device}" masquerade {ports}; }}
  chain in {{ type filter hook input priority filter; policy drop; iifname != "{device}" accept; \
ct state established,related accept; }}
  chain through {{ type filter hook forward priority filter; policy drop; iifname != "{device}" accept; \
ct status dnat accept; ct state established,related accept; }}
}}
"""

ONE_WAY = """
table inet firewall {
  chain in { type filter hook input priority filter; policy drop; iifname "lo" accept; icmpv6 type != 0 accept; \
ct state established,related accept; }
}
"""

_numbers = itertools.count()


def run(*command):
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert not done.returncode, f"{' '.join(command)}: {done.stderr}"


def within(name, *command):
    run("ip", "netns", "exec", name, *command)


def read_within(name, path):
    """What a file holds, as a namespace sees it."""
    command = ("ip", "netns", "exec", name, "cat", path)
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def connected_to(name, address):
    """Whether a namespace has a TCP connection with an address, such as ``9.9.9.1:4001``."""
    shown = subprocess.run(
        ("ip", "netns", "exec", name, "ss", "--tcp", "--numeric", "--no-header"),
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return any(line.split()[-1] == address for line in shown.splitlines() if line.startswith("ESTAB"))


def command_in(name, *arguments):
    """The command that runs one of this project's modules in a namespace."""
    return ("ip", "netns", "exec", name, sys.executable, "-m", *arguments)


class Lab:
    """The namespaces of one test; made by `lab`, which removes them."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._tag = f"gfl{os.getpid() % 100_000}x{next(_numbers)}"

    def host(self, name: str) -> str:
        """A namespace with nothing but its loopback interface."""
        space = f"{self._tag}-{name}"
        run("ip", "netns", "add", space)
        self._stack.callback(run, "ip", "netns", "delete", space)
        within(space, "ip", "link", "set", "lo", "up")
        return space

    def switch(self, name: str) -> str:
        """A namespace whose cables are one network."""
        space = self.host(name)
        within(space, "ip", "link", "add", "bridge", "type", "bridge")
        within(space, "ip", "link", "set", "bridge", "up")
        return space

    def connect(self, switch: str, space: str, *addresses: str) -> str:
        """Lay a cable from a host, or another switch without addresses; give the host's interface."""
        number = next(_numbers)
        port, device = f"port{number}", f"eth{number}"
        run("ip", "link", "add", port, "netns", switch, "type", "veth", "peer", device, "netns", space)
        within(switch, "ip", "link", "set", port, "master", "bridge", "up")
        within(space, "ip", "link", "set", device, *(() if addresses else ("master", "bridge")), "up")
        for address in addresses:
            nodad = ("nodad",) if ":" in address else ()
            within(space, "ip", "address", "add", address, "dev", device, *nodad)
        return device

    def behind_modem(
        self, name: str, switch: str, address: str, *, mbits: float, seconds: float = 0.4
    ) -> str:
        """A host whose modem carries so many Mbit/s each way, behind queues of at most so many seconds."""
        host, modem = self.host(name), self.switch(f"{name}-m")
        device = self.connect(switch, modem)
        self.connect(modem, host, address)
        within(host, "sysctl", "-w", "net.ipv4.tcp_congestion_control=reno")  # the same on every machine
        burst = max(5_000, int(mbits * 1e6 / 8 / 100))
        bucket = ("tbf", "rate", f"{mbits}mbit", "burst", str(burst), "latency", f"{int(1e3 * seconds)}ms")
        for where, interface in ((modem, device), (switch, device.replace("eth", "port"))):
            within(where, "tc", "qdisc", "add", "dev", interface, "root", *bucket)
        return host

    def router(
        self,
        name: str,
        public: str,
        switch: str,
        *,
        address: str,
        inner: str,
        forwarded: str = "",
        ports: str = "",
    ) -> None:
        """A router from a switch to the public one that drops what nobody inside has asked for.

        It keeps port numbers, unless ``ports`` is ``random``.
        Packets to the ``forwarded`` destination, such as ``192.168.1.2:4001``, are let in.
        """
        router = self.host(name)
        device = self.connect(public, router, address)
        self.connect(switch, router, inner)
        within(router, "sysctl", "-w", "net.ipv4.ip_forward=1")
        rule = (
            f'iifname "{device}" tcp dport {forwarded.rpartition(":")[2]} dnat to {forwarded};'
            if forwarded
            else ""
        )
        within(router, "nft", TRANSLATION.format(device=device, forwarded=rule, ports=ports))

    def behind_router(
        self, name: str, public: str, *, number: int, forwarded: bool = False, ports: str = ""
    ) -> str:
        """A host at 192.168.NUMBER.2, whose router is at 9.9.9.(10 + NUMBER)."""
        host, switch = self.host(name), self.switch(f"{name}-lan")
        inner = f"192.168.{number}"
        self.router(
            f"{name}-router",
            public,
            switch,
            address=PUBLIC.format(9, 10 + number),
            inner=f"{inner}.1/24",
            forwarded=f"{inner}.2:4001" if forwarded else "",
            ports=ports,
        )
        self.connect(switch, host, f"{inner}.2/24")
        within(host, "ip", "route", "add", "default", "via", f"{inner}.1")
        return host


@contextmanager
def lab():
    """Namespaces until the end of the block."""
    with ExitStack() as stack:
        yield Lab(stack)


def two_behind_routers(network: Lab, *, ports: str = ""):
    """A public host at 9.9.9.1, and two hosts behind routers of their own, at 9.9.9.11 and 9.9.9.12."""
    public, relay = network.switch("public"), network.host("relay")
    network.connect(public, relay, PUBLIC.format(9, 1))
    return relay, *(network.behind_router(f"peer{each}", public, number=each, ports=ports) for each in (1, 2))
