"""hosts: hosts with links between them, each a network namespace; the test itself is on one.

It knows addresses and routes, and must never know what is said over them.
"""

import contextlib
import ctypes
import os
import subprocess

CLONE_NEWNET = 0x40000000
OURS = "/proc/thread-self/ns/net"


class Hosts:
    """`here` is the host that the test and all it starts are on; others come with link()."""

    def __init__(self):
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._outside = os.open(OURS, os.O_RDONLY)
        self._hosts = {}
        self._stack = contextlib.ExitStack()
        self._make("here")

    def _check(self, result):
        if result != 0:
            raise OSError(ctypes.get_errno(), "no network of its own")

    def _make(self, name):
        """A new one, where this thread then is."""
        self._check(self._libc.unshare(CLONE_NEWNET))
        self._hosts[name] = os.open(OURS, os.O_RDONLY)
        self.ip("link set lo up")

    def _go(self, host):
        self._check(self._libc.setns(host, CLONE_NEWNET))

    def ip(self, *commands):
        for command in commands:
            subprocess.run(["ip", *command.split()], check=True)

    @contextlib.contextmanager
    def inside(self, name):
        """Sockets that are opened within are that host's for good."""
        self._go(self._hosts[name])
        try:
            yield
        finally:
            self._go(self._hosts["here"])

    def link(self, name, ours, theirs, length):
        """Another host, behind the device of its name; its way to everywhere is through us."""
        self._make(name)
        self._go(self._hosts["here"])
        there = f"/proc/{os.getpid()}/fd/{self._hosts[name]}"
        self.ip(
            f"link add {name} type veth peer name here netns {there}",
            f"addr add {ours}/{length} dev {name} nodad",
            f"link set {name} up",
        )
        with self.inside(name):
            self.ip(
                f"addr add {theirs}/{length} dev here nodad",
                "link set here up",
                f"route add default via {ours}",
            )

    def close(self):
        self._go(self._outside)
        for host in (*self._hosts.values(), self._outside):
            os.close(host)
