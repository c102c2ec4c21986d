"""Runs one server and answers for every process that comes of it.

    python supervise.py COMMAND…

Servers start others, some of which leave their process group and are adopted when their parent ends. This process is
the one that adopts them (a "child subreaper"), so that all of a server's processes stay below it in the table.

Prints the moment at which the command was started (the clock that all processes share). Ends, and with it everything
below, when standard input ends, on SIGTERM, or when the command ends: also if the comparison itself was killed.

Invariant: when this process has ended, nothing that it started is left.
"""

import ctypes
import os
import select
import shutil
import signal
import sys
import time

PR_SET_CHILD_SUBREAPER = 36
GRACE_SECONDS = 15


def parents():
    """The parent of every process."""
    found = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat") as stat:
                    # The name before it is in parentheses and may itself contain any.
                    state, parent = stat.read().rpartition(")")[2].split()[:2]
            except OSError:
                continue
            if state != "Z":
                found[int(entry)] = int(parent)
    return found


def descendants(root):
    """Every process below a process, parents first."""
    children = {}
    for process, parent in parents().items():
        children.setdefault(parent, []).append(process)
    found, ahead = [], [root]
    while ahead:
        below = children.get(ahead.pop(), [])
        found += below
        ahead += below
    return found


def send(processes, number):
    for process in processes:
        try:
            os.kill(process, number)
        except ProcessLookupError:
            pass


def reap():
    """Takes notice of children that have ended; whether there are others."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return False
    return True


def end_all(command):
    """Asks the command to end, then what is left, then does not ask any more."""
    send(descendants(os.getpid()), signal.SIGCONT)
    send([command], signal.SIGTERM)
    deadline = time.monotonic() + GRACE_SECONDS
    asked_all = False
    while reap():
        left = descendants(os.getpid())
        if time.monotonic() > deadline:
            send(left, signal.SIGKILL)
        elif command not in left and not asked_all:
            send(left, signal.SIGTERM)
            asked_all = True
        time.sleep(0.02)


def spawn(command):
    """Starts the command in a process group of its own, out of reach of the terminal's Ctrl-C."""
    nothing, to_log = (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0), (os.POSIX_SPAWN_DUP2, 2, 1)
    return os.posix_spawnp(
        command[0], command, os.environ, file_actions=[nothing, to_log], setpgroup=0, setsigdef=[signal.SIGINT]
    )


def main():
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    # Whoever presses Ctrl-C means the comparison, which ends its servers itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signals, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(wake)
    for number in (signal.SIGCHLD, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    started = time.monotonic()
    command = spawn(sys.argv[1:])
    print(started, flush=True)
    while command in descendants(os.getpid()):
        readable, _, _ = select.select([0, signals], [], [])
        if 0 in readable or signal.SIGTERM in os.read(signals, 4096):
            break
        reap()
    end_all(command)
    # Not below the folder that the comparison itself takes away.
    shutil.rmtree(os.environ["COMPARE_SHORT_SCRATCH"], ignore_errors=True)


if __name__ == "__main__":
    main()
