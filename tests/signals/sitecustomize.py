"""Sends its own process a signal at a point that no clock decides: `signalled` in conftest.py puts this folder on PYTHONPATH and the point into SIGNAL_AT."""
import atexit
import json
import os
import sys
import time
from fnmatch import fnmatch
from functools import partial
from itertools import count
from threading import RLock

number, *steps = json.loads(os.environ.pop("SIGNAL_AT"))  # the signal; then [event, pattern, how often], one after the other
if step := float(os.environ.pop("CLOCK_STEP", 0)): time.monotonic = partial(next, count(step=step))  # s by which the clock goes on whenever the program looks at it
turn = RLock()  # files are opened by several threads


def strike(kill=os.kill, own=os.getpid()): kill(own, number)


def watch(event, args):
    "An audit hook: what is about to happen is compared with what is awaited"
    if not steps or event != steps[0][0]: return
    with turn:
        subject = args[event == "os.rename"]  # its target
        if not steps or not isinstance(subject, (str, bytes, os.PathLike)) or not fnmatch(os.fsdecode(subject), steps[0][1]): return
        steps[0][2] -= 1
        if steps[0][2]: return
        del steps[0]
    if steps: return
    if event == "os.rename": os.replace(*args[:2])  # the signal comes when it is done
    strike()


class Last:
    "Taken away when Python is nearly at its end"
    def __del__(self, strike=strike): strike()


if steps[0][0] == "exit": atexit.register(strike)
elif steps[0][0] == "end": last = Last()
else: sys.addaudithook(watch)
