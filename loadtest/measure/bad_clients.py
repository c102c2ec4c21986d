#!/usr/bin/env python3
"""Clients that are slow, greedy, rude or many, and what a gateway must do about each. Run by clients.py.

    bad_clients.py CASE ADDRESS MODEL BODIES EXPECTED COUNT IDLE_SECONDS BODY_SECONDS MAX_BODY

Says `ready` when all are in place, goes on until standard input ends, sees each through to its end, and prints one JSON
object: how often each end was met, and what was wrong. Once in place at the lowest priority there is, so that the load
beside it is not what suffers.

Invariant: whatever a client is not promised counts as wrong, and so does a client that met no end.
"""

import asyncio
import contextlib
import json
import os
import select
import sys
import time
from collections import Counter

import idle

# Time-outs are noticed in rounds of an eighth of the shortest, and thousands of connections are not closed in a moment.
GRACE_SECONDS = 2.0
# Between two looks at how long this process was kept from its processor: what is late by that is not the gateway's doing.
LOOK_SECONDS = 0.1
PIPELINED, PAUSE_SECONDS = 16, 0.25
# A request that is not taken for so long waits for its sender to read.
BLOCKED_SECONDS = 2
TOLERANCE = 1e-4


class Wrong(Exception):
    """An answer or an end that was not promised."""


class Case:
    """What the clients of one case share."""

    def __init__(self, arguments):
        self.name, self.address, self.model, bodies, expected = arguments[:5]
        self.count = int(arguments[5])
        self.idle_seconds, self.body_seconds, self.max_body = map(float, arguments[6:9])
        with open(bodies) as lines, open(expected) as answers:
            self.bodies = [line.rstrip("\n").encode() for line in lines]
            self.expected = [json.loads(line) for line in answers]
        self.met, self.wrong, self.stopped, self.placed = Counter(), [], asyncio.Event(), 0
        self.stalled = 0.0

    def head(self, framing, more=""):
        path = f"/v2/models/{self.model}/infer"
        return f"POST {path} HTTP/1.1\r\nhost: tidegate\r\n{framing}\r\n{more}\r\n".encode()

    def request(self, number, identity=""):
        """A whole request with body `number`, which names itself."""
        body = self.bodies[number % len(self.bodies)]
        body = f'{{"id":"{identity}",'.encode() + body[1:]
        return self.head(f"content-length: {len(body)}") + body

    def check_right(self, answer, number, identity):
        status, body = answer
        if status != 200:
            raise Wrong(f"expected 200, got {status}: {body[:200]!r}")
        answered = json.loads(body)
        found, expected = answered["outputs"][1]["data"], self.expected[number % len(self.expected)]
        is_right = len(found) == len(expected) and all(abs(a - b) <= TOLERANCE for a, b in zip(found, expected))
        if answered.get("id") != identity or not is_right:
            raise Wrong(f"expected {identity} with {expected}, got {body[:200]!r}")

    def check_time(self, what, seconds, limit):
        if not limit <= seconds <= limit + GRACE_SECONDS + self.stalled:
            raise Wrong(f"{what} after {seconds:.1f} s, where {limit:g} s are the limit")

    async def watch(self):
        """Adds up how much later than asked for this process went on."""
        while True:
            began = time.monotonic()
            await asyncio.sleep(LOOK_SECONDS)
            self.stalled += time.monotonic() - began - LOOK_SECONDS

    async def connect(self, number, **more):
        made = idle.make(number, **more)
        await asyncio.get_running_loop().sock_connect(made, idle.place_of(self.address))
        return made

    async def streams(self, number):
        return await asyncio.open_connection(sock=await self.connect(number))

    def is_placed(self):
        """One more is where it is meant to be; the last says so."""
        self.placed += 1
        if self.placed == self.count:
            say_ready()


def say_ready():
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    print("ready", flush=True)


async def read_answer(reader):
    """Status and body."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    length = next(int(line[15:]) for line in head.splitlines() if line.startswith("content-length:"))
    return int(head[9:12]), await reader.readexactly(length)


async def refusal(reader, status, named):
    """Reads an answer that must be this refusal, and then the end of the connection."""
    found, body = await asyncio.wait_for(read_answer(reader), 60)
    if found != status or named not in body.decode():
        raise Wrong(f"expected {status} that names {named}, got {found}: {body[:200]!r}")
    with contextlib.suppress(ConnectionError):
        if await asyncio.wait_for(reader.read(1), 60):
            raise Wrong(f"more came after {status}")


async def slow_head(case, number):
    """A byte a second of a head that never ends."""
    began = time.monotonic()
    reader, writer = await case.streams(number)
    ended = asyncio.ensure_future(reader.read(1))
    head = case.head("x-slow: " + "a" * 10_000)
    case.is_placed()
    for at in range(len(head)):
        writer.write(head[at : at + 1])
        done, _ = await asyncio.wait([ended], timeout=1)
        if done:
            break
    with contextlib.suppress(ConnectionError):
        if await ended:
            raise Wrong("an answer to half a head")
    case.check_time("the connection ended", time.monotonic() - began, case.idle_seconds)
    writer.close()
    return "closed by server.idle_timeout"


async def half_body(case, number):
    """Half a body, whole in size or in chunks; then nothing, a byte now and then, or away."""
    reader, writer = await case.streams(number)
    body = case.bodies[number % len(case.bodies)]
    half = body[: len(body) // 2]
    began = time.monotonic()
    if number % 2:
        writer.write(case.head(f"content-length: {len(body)}") + half)
    else:
        writer.write(case.head("transfer-encoding: chunked") + f"{len(body):x}\r\n".encode() + half)
    case.is_placed()
    if number % 4 == 3:
        await asyncio.sleep(1)
        writer.transport.abort()
        return "gone in the middle"
    answer = asyncio.ensure_future(refusal(reader, 408, "server.body_timeout"))
    while number % 4 >= 2 and not answer.done():
        writer.write(b" ")
        await asyncio.wait([answer], timeout=0.5)
    await answer
    case.check_time("408 came", time.monotonic() - began, case.body_seconds)
    writer.close()
    return "408 by server.body_timeout"


async def unread(case, number):
    """Requests, one after the other, whose answers are never read."""
    made = await case.connect(number, receive_buffer=4096)
    loop, request = asyncio.get_running_loop(), case.request(number)
    began = last = time.monotonic()
    is_placed = False
    try:
        while True:
            sending = asyncio.ensure_future(loop.sock_sendall(made, request))
            done, _ = await asyncio.wait([sending], timeout=BLOCKED_SECONDS)
            if not done and not is_placed:
                is_placed = True
                case.is_placed()
            await asyncio.wait_for(sending, case.idle_seconds + 30)
            last = time.monotonic()
    except ConnectionError:
        # What the gateway wrote last went into buffers before the last request did.
        if not 0 <= time.monotonic() - last <= case.idle_seconds + GRACE_SECONDS + case.stalled:
            raise Wrong(f"closed {time.monotonic() - last:.1f} s after the last request was taken") from None
        if time.monotonic() - began < case.idle_seconds:
            raise Wrong(f"closed after {time.monotonic() - began:.1f} s") from None
    finally:
        made.close()
    return "closed by server.idle_timeout"


async def pipelined(case, number):
    """Many requests at once, whose answers must come in their order."""
    reader, writer = await case.streams(number)
    case.is_placed()
    while not case.stopped.is_set():
        names = [f"{number}-{at}" for at in range(PIPELINED)]
        writer.write(b"".join(case.request(number + at, name) for at, name in enumerate(names)))
        for at, name in enumerate(names):
            case.check_right(await asyncio.wait_for(read_answer(reader), 30), number + at, name)
            case.met["200 in order"] += 1
        await asyncio.sleep(PAUSE_SECONDS)
    writer.close()
    return "connections that lasted"


async def kept_alive(case, number):
    """Now and then a request, on one connection."""
    reader, writer = await case.streams(number)
    case.is_placed()
    at = 0
    while not case.stopped.is_set():
        writer.write(case.request(number + at, f"{number}-{at}"))
        case.check_right(await asyncio.wait_for(read_answer(reader), 30), number + at, f"{number}-{at}")
        case.met["200"] += 1
        at += 1
        # Spread, so that they do not all come at once.
        await asyncio.sleep(PAUSE_SECONDS * (1 + number % 8 / 8))
    writer.close()
    return "connections that lasted"


async def too_large(case, number):
    """A body over the limit: declared and not sent, declared and sent, in chunks, in chunks without end."""
    reader, writer = await case.streams(number)
    case.is_placed()
    size, kind = int(case.max_body), number % 4
    chunk = b"1000\r\n" + b"x" * 4096 + b"\r\n"
    if kind == 0:
        writer.write(case.head(f"content-length: {size + 1}"))
    elif kind == 1:
        writer.write(case.head(f"content-length: {2 * size}") + b"x" * (2 * size))
    else:
        writer.write(case.head("transfer-encoding: chunked") + chunk * (size // 4096 + 1))
    answer = asyncio.ensure_future(refusal(reader, 413, "server.max_body"))
    with contextlib.suppress(ConnectionError):
        while kind == 3 and not answer.done():
            writer.write(chunk)
            await writer.drain()
            await asyncio.sleep(0)
    try:
        await answer
    except (ConnectionError, asyncio.IncompleteReadError):
        # Whoever is still sending when the connection is closed may find it reset before the answer.
        if kind in (0, 2):
            raise
        return "413 or reset while still sending"
    writer.close()
    return ("413, declared", "413, declared and sent", "413, chunks", "413, chunks without end")[kind]


async def client(case, act, number):
    """One client after the other in this place, until all are to end."""
    is_first = True
    while is_first or not case.stopped.is_set():
        is_first = False
        try:
            case.met[await act(case, number)] += 1
        except (Wrong, OSError, asyncio.IncompleteReadError, TimeoutError) as error:
            case.wrong.append(f"{type(error).__name__}: {error}"[:300])
            return
        # A refusal a moment is as bad as it gets; without a pause this would measure Python.
        await asyncio.sleep(0.05)


async def run_clients(case, act):
    loop = asyncio.get_running_loop()
    loop.add_reader(0, lambda: os.read(0, 1) or (loop.remove_reader(0), case.stopped.set()))
    watching = asyncio.ensure_future(case.watch())
    await asyncio.gather(*(client(case, act, number) for number in range(case.count)))
    watching.cancel()


def run_idle(case):
    """So many connections that do nothing, at once or after a request, and when each is closed."""
    request = case.request(0) if case.name == "idle_answered" else None
    since = dict(idle.open_many(case.address, case.count, request))
    say_ready()
    poll, waiting = select.epoll(), {one.fileno(): one for one in since}
    for descriptor in waiting:
        poll.register(descriptor, select.EPOLLIN)
    while waiting:
        began = time.monotonic()
        ended = poll.poll(LOOK_SECONDS)
        case.stalled += max(time.monotonic() - began - LOOK_SECONDS, 0)
        began = time.monotonic()
        for descriptor, _ in ended:
            one = waiting.pop(descriptor)
            poll.unregister(descriptor)
            with contextlib.suppress(ConnectionError):
                if one.recv(1):
                    case.wrong.append("something came to an idle connection")
            note_end(case, time.monotonic() - since[one])
            one.close()
        # What ends meanwhile is seen afterwards.
        case.stalled += time.monotonic() - began
        if waiting and time.monotonic() - max(since.values()) > case.idle_seconds + 10:
            case.wrong.append(f"{len(waiting)} idle connections were not closed")
            return


def note_end(case, seconds):
    try:
        case.check_time("an idle connection ended", seconds, case.idle_seconds)
        case.met["closed by server.idle_timeout"] += 1
    except Wrong as wrong:
        case.wrong.append(str(wrong))


ACTS = {
    "slow_heads": slow_head,
    "half_bodies": half_body,
    "unread_answers": unread,
    "pipelined": pipelined,
    "kept_alive": kept_alive,
    "too_large": too_large,
}


def main():
    case = Case(sys.argv[1:])
    idle.need_descriptors(case.count + 1000)
    if case.name in ACTS:
        asyncio.run(run_clients(case, ACTS[case.name]))
    else:
        run_idle(case)
    print(
        json.dumps(
            {"met": case.met, "wrong": len(case.wrong), "first_wrong": case.wrong[:3], "stalled_seconds": case.stalled}
        ),
        flush=True,
    )


if __name__ == "__main__":
    main()
