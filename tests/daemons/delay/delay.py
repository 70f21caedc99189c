"""A delay line between this network namespace and a host's: each packet is held half a round trip, or is lost.

Usage: delay.py NAMESPACE_FILE NUMBER LINE_FILE. Addresses: 10.78.NUMBER.254 here, 10.78.NUMBER.1 there. It prints
"ready" and runs until it is ended. LINE_FILE holds two numbers, the round trip in milliseconds and how many packets of
a hundred are lost, and is read for each packet: 100 is a cable that was cut. Replace it, never write into it.
"""

import ctypes
import fcntl
import heapq
import os
import random
import select
import struct
import subprocess
import sys
import time
from contextlib import suppress
from itertools import count
from pathlib import Path

TUNSETIFF, IFF_TUN, IFF_NO_PI, CLONE_NEWNET = 0x400454CA, 0x0001, 0x1000, 0x40000000  # linux/if_tun.h, linux/sched.h
LARGEST_PACKET = 65536


def enter(namespace: int) -> None:
    """Enter that network namespace."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(namespace, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns failed")


def make_tun(name: str, address: str, peer: str) -> int:
    """Make a point-to-point device of this namespace, and return a descriptor that reads its packets."""
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22s", name.encode(), IFF_TUN | IFF_NO_PI, b""))
    subprocess.run(["ip", "addr", "add", address, "peer", peer, "dev", name], check=True)
    subprocess.run(["ip", "link", "set", name, "up"], check=True)
    return device


def make_ends(namespace: Path, number: str) -> tuple[int, int]:
    """Make both ends of the line: one in this namespace, one in the host's."""
    home = os.open("/proc/self/ns/net", os.O_RDONLY)
    near, far = f"10.78.{number}.254", f"10.78.{number}.1"
    here = make_tun(f"dl{number}", near, far)
    enter(os.open(namespace, os.O_RDONLY))
    there = make_tun("slow0", far, near)
    enter(home)
    return here, there


def read_packets(device: int) -> list[bytes]:
    """Return all packets that have arrived."""
    found: list[bytes] = []
    with suppress(BlockingIOError):
        while True:
            found.append(os.read(device, LARGEST_PACKET))
    return found


def carry(ends: tuple[int, int], line: Path) -> None:
    """Carry packets between both ends without end."""
    other = dict(zip(ends, reversed(ends), strict=True))
    held: list[tuple[float, int, int, bytes]] = []  # when to send, order of arrival, where to, packet
    number = count()
    while True:
        patience = max(0.0, held[0][0] - time.monotonic()) if held else None
        for device in select.select(ends, [], [], patience)[0]:
            for packet in read_packets(device):
                rtt_ms, lost_percent = map(float, line.read_text().split())
                if random.uniform(0, 100) >= lost_percent:  # noqa: S311  # no secret
                    heapq.heappush(held, (time.monotonic() + rtt_ms / 2000, next(number), other[device], packet))
        while held and held[0][0] <= time.monotonic():
            _, _, device, packet = heapq.heappop(held)
            with suppress(OSError):  # the device's queue is full: a lost packet, as on any network
                os.write(device, packet)


if __name__ == "__main__":
    both = make_ends(Path(sys.argv[1]), sys.argv[2])
    print("ready", flush=True)  # noqa: T201  # up.sh waits for it
    carry(both, Path(sys.argv[3]))
