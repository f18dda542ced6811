"""Networks of namespaces on this machine: a public one, and private ones behind routers."""

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
PUBLIC = "9.9.9.{}"


def run(*command):
    subprocess.run(command, check=True, capture_output=True, text=True)


@contextmanager
def namespace(name):
    run("ip", "netns", "add", name)
    try:
        within(name, "ip", "link", "set", "lo", "up")
        yield name
    finally:
        run("ip", "netns", "delete", name)


def within(name, *command):
    run("ip", "netns", "exec", name, *command)


def link(one, other, device):
    """Lay a cable between two namespaces; its ends are called after the device."""
    run("ip", "link", "add", f"{device}0", "netns", one, "type", "veth", "peer", f"{device}1", "netns", other)
    within(one, "ip", "link", "set", f"{device}0", "up")
    within(other, "ip", "link", "set", f"{device}1", "up")


@contextmanager
def lab():
    """A relay at 9.9.9.1, and two peers, each behind a router of its own, at 9.9.9.11 and 9.9.9.12.

    The routers translate addresses and drop what nobody inside has asked for. Gives the three namespaces' names.
    """
    tag = f"gfl{os.getpid() % 100_000}"
    relay, wan, *names = (f"{tag}-{each}" for each in ("relay", "wan", "r1", "p1", "r2", "p2"))
    with ExitStack() as stack:
        for name in (relay, wan, *names):
            stack.enter_context(namespace(name))
        within(wan, "ip", "link", "add", "bridge", "type", "bridge")
        within(wan, "ip", "link", "set", "bridge", "up")
        connect(wan, relay, "relay", PUBLIC.format(1))
        peers = []
        for number, (router, peer) in enumerate((names[:2], names[2:]), start=1):
            connect(wan, router, f"wan{number}", PUBLIC.format(10 + number))
            link(router, peer, "lan")
            within(router, "ip", "address", "add", f"192.168.{number}.1/24", "dev", "lan0")
            within(peer, "ip", "address", "add", f"192.168.{number}.2/24", "dev", "lan1")
            within(peer, "ip", "route", "add", "default", "via", f"192.168.{number}.1")
            within(router, "sysctl", "-w", "net.ipv4.ip_forward=1")
            within(router, "nft", ROUTER.format(device=f"wan{number}1"))
            peers.append(peer)
        yield relay, *peers


ROUTER = """
table ip router {{
  chain out {{ type nat hook postrouting priority srcnat; oifname "{device}" masquerade; }}
  chain in {{ type filter hook input priority filter; policy drop; iifname != "{device}" accept; \
ct state established,related accept; }}
  chain through {{ type filter hook forward priority filter; policy drop; iifname != "{device}" accept; \
ct state established,related accept; }}
}}
"""


def connect(wan, name, device, address):
    """Put a namespace on the public network."""
    link(wan, name, device)
    within(wan, "ip", "link", "set", f"{device}0", "master", "bridge")
    within(name, "ip", "address", "add", f"{address}/24", "dev", f"{device}1")


def command_in(name, *arguments):
    """The command that runs one of this project's modules in a namespace."""
    return ("ip", "netns", "exec", name, sys.executable, "-m", *arguments)
