#!/usr/bin/env python3
"""A link with latency: joins two TAP devices and hands each frame on after a delay.

delay.py FIRST SECOND MILLISECONDS

Makes both devices and works until one of them is removed. For kernels without netem; see namespaces.sh. It takes a part of one core, a
frame at a time, and suits links of up to some hundred megabits a second.
"""

import collections
import errno
import fcntl
import os
import select
import struct
import sys
import time

TUNSETIFF = 0x400454CA
IFF_TAP_WITHOUT_HEADER = 0x0002 | 0x1000


def tap(name):
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH", name.encode(), IFF_TAP_WITHOUT_HEADER))
    return fd


def main(first, second, milliseconds):
    delay = float(milliseconds) / 1000
    fds = [tap(first), tap(second)]
    other = dict(zip(fds, fds[::-1]))
    waiting = {fd: collections.deque() for fd in fds}
    print("up", flush=True)
    while True:
        due = [frames[0][0] for frames in waiting.values() if frames]
        patience = max(0.0, min(due) - time.monotonic()) if due else None
        readable, _, _ = select.select(fds, [], [], patience)
        now = time.monotonic()
        for fd in readable:
            for _ in range(64):
                try:
                    waiting[other[fd]].append((now + delay, os.read(fd, 65536)))
                except BlockingIOError:
                    break
        for fd, frames in waiting.items():
            while frames and frames[0][0] <= now:
                try:
                    os.write(fd, frames.popleft()[1])
                except OSError as error:
                    # A device that is not up takes no frames, as a cable without a machine.
                    if error.errno != errno.EIO:
                        raise


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    try:
        main(*sys.argv[1:])
    except OSError as error:
        sys.exit(f"delay.py: a device is gone: {error}")
