"""What a client writes down: one JSON object per line on standard output, flushed before anything depends on it.

The lines are those that crates/history reads. A call is written when it is asked for and when its outcome is known, so that a
client that is killed leaves its last calls open and nothing unsaid.
"""

import json
import os
import sys
import threading
import time

_lock = threading.Lock()


def now_us():
    return time.time_ns() // 1000


class Numbers:
    """Process numbers: a client that no longer knows what became of a call goes on as another process."""

    def __init__(self, first):
        self._next, self._lock = first, threading.Lock()

    def take(self):
        with self._lock:
            self._next += 1
            return self._next - 1


class Diary:
    """One process's diary."""

    def __init__(self, process, site):
        self.process, self.site, self._calls = process, site, 0

    def begin(self, **said):
        """Writes an invocation; gives the call's number."""
        self._calls += 1
        self._write(call=self._calls, kind="invoke", at_us=now_us(), **said)
        return self._calls

    def end(self, call, kind, **said):
        self._write(call=call, kind=kind, at_us=now_us(), **said)

    def whole(self, began_us, **said):
        """A call that is over: only what it brought is worth a line."""
        self._calls += 1
        self._write(call=self._calls, kind="ok", began_us=began_us, at_us=now_us(), **said)

    def _write(self, **said):
        line = json.dumps({"process": self.process, "site": self.site, **said}, separators=(",", ":"))
        with _lock:
            sys.stdout.write(line + "\n")
            sys.stdout.flush()


class Values:
    """Values that nobody else writes."""

    def __init__(self):
        self._of_process = {}

    def next(self, process):
        count = self._of_process.get(process, 0)
        self._of_process[process] = count + 1
        return process << 32 | count


def value_of(text):
    """The number at the start of a record's value; what follows only makes it long."""
    return int(text.split(b" ", 1)[0])


class Orders:
    """What the harness says on standard input, and what it is told back in a file.

    `hold` and `go` are for those who write, `quiet` ends writing for good, `stop` ends all. Once every writer rests, with
    nothing of its own under way, the file says `resting`; before and after it says `writing`.
    """

    def __init__(self, state, writers):
        self._go, self._stop, self._quiet = threading.Event(), threading.Event(), threading.Event()
        self._go.set()
        self._state, self._lock = state, threading.Lock()
        self._resting = dict.fromkeys(writers, False)
        self._tell()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self):
        for line in sys.stdin:
            word = line.strip()
            if word == "hold":
                self._go.clear()
            elif word == "go":
                self._go.set()
            elif word == "quiet":
                self._quiet.set()
                self._go.set()
            elif word == "stop":
                break
        self._stop.set()
        self._quiet.set()
        self._go.set()

    def may_write(self, writer, settle=lambda: None):
        """Waits while writing is held, once `settle` has ended what is under way; false once it is over for good."""
        if self.may_write_now():
            return True
        settle()
        self.rest(writer, True)
        self._go.wait()
        if self._quiet.is_set():
            return False
        self.rest(writer, False)
        return True

    def may_write_now(self):
        return self._go.is_set() and not self._quiet.is_set()

    def rest(self, writer, rests):
        with self._lock:
            if self._resting[writer] != rests:
                self._resting[writer] = rests
                self._tell()

    def _tell(self):
        with open(self._state + ".new", "w", encoding="ascii") as file:
            file.write("resting" if all(self._resting.values()) else "writing")
        os.replace(self._state + ".new", self._state)

    def stopped(self):
        return self._stop.is_set()


def run(threads):
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
