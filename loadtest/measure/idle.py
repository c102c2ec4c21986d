"""Many connections that only exist.

Invariant: each of them was established; ports of several source addresses are used, so that thousands that were closed a
moment ago do not leave too few.
"""

import errno
import resource
import select
import socket
import time

from gateway import Failure

SOURCES = 8
# Below the system's queue of connections that were not accepted yet, which drops what does not fit.
AT_ONCE = 200
PATIENCE_SECONDS = 30
# Python before 3.12 has no name for it: the port is chosen when it is known where to, and may so be shared.
IP_BIND_ADDRESS_NO_PORT = 24


def need_descriptors(count):
    """Raises this process's limit of open files, which what it starts inherits."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < count:
        raise Failure(f"{count} open files are needed and {hard} allowed: raise the hard limit (ulimit -Hn)")
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))


def make(number, receive_buffer=None):
    """A socket that is not connected yet, non-blocking, at one of the source addresses."""
    made = socket.socket()
    made.setblocking(False)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    made.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
    if receive_buffer:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    made.bind((f"127.0.0.{2 + number % SOURCES}", 0))
    return made


def place_of(address):
    host, port = address.rsplit(":", 1)
    return host, int(port)


def connect(address, number):
    """A socket that is connecting."""
    made = make(number)
    failed = made.connect_ex(place_of(address))
    if failed not in (0, errno.EINPROGRESS):
        raise Failure(f"a connection could not be made: {errno.errorcode[failed]}")
    return made


def open_many(address, count, request=None):
    """So many established connections, each with the moment before it was asked for, or before it asked this."""
    made = []
    for first in range(0, count, AT_ONCE):
        began = time.monotonic()
        group = [connect(address, number) for number in range(first, min(first + AT_ONCE, count))]
        wait_for(group)
        for one in group:
            if request:
                began = time.monotonic()
                ask(one, request)
            made.append((one, began))
    return made


def ask(one, request):
    """Has a connection answer one request, with 200."""
    one.setblocking(True)
    one.sendall(request)
    answer = one.recv(65536)
    one.setblocking(False)
    if not answer.startswith(b"HTTP/1.1 200"):
        raise Failure(f"expected 200, got {answer[:200]!r}")


def wait_for(group):
    poll, waiting = select.poll(), {made.fileno(): made for made in group}
    for descriptor in waiting:
        poll.register(descriptor, select.POLLOUT)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while waiting:
        if time.monotonic() > deadline:
            raise Failure(f"{len(waiting)} connections were not accepted within {PATIENCE_SECONDS} s")
        for descriptor, _ in poll.poll(1000):
            failed = waiting.pop(descriptor).getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if failed:
                raise Failure(f"a connection could not be made: {errno.errorcode[failed]}")
            poll.unregister(descriptor)
