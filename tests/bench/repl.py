#!/usr/bin/env python3
"""How fast the prompt is, through a pseudo-terminal: the goals of the REPL, measured.

    python3 tests/bench/repl.py [--cells 50] [--starts 10]

Time to the first prompt, round trip of a trivial cell (Enter to the next prompt), of a completion (Tab to the menu), and
of an interrupt while a tiny run trains (Ctrl-C to the next prompt). Prints a table and exits with 1 if a goal is missed.
The binary is target/release/ltune (build it with scripts/ltune).
"""

import argparse
import os
import pty
import re
import select
import statistics
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LTUNE = ROOT / "target/release/ltune"


class Prompt:
    def __init__(self, folder):
        self.process, self.terminal = pty.fork()
        if self.process == 0:
            os.chdir(folder)
            os.environ.update(HOME=folder, TERM="xterm-256color", OMP_NUM_THREADS="1")
            os.environ.pop("XDG_STATE_HOME", None)
            os.execv(LTUNE, ["ltune"])
        self.seen = b""

    def until(self, pattern, limit=60):
        """Seconds until the pattern is shown; what was shown before it is forgotten."""
        began = time.perf_counter()
        while not (found := re.search(pattern, self.seen)):
            if not select.select([self.terminal], [], [], limit)[0]:
                sys.exit(f"{pattern!r} did not come:\n{self.seen.decode(errors='replace')}")
            self.seen += os.read(self.terminal, 65536)
        self.seen = self.seen[found.end():]
        return time.perf_counter() - began

    def send(self, keys):
        os.write(self.terminal, keys.encode())

    def leave(self):
        self.send("\x04")
        try:
            while os.read(self.terminal, 65536):
                pass
        except OSError:
            pass
        os.waitpid(self.process, 0)


def prompt(number):
    return rb"In \[" + str(number).encode() + rb"\]: "


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--cells", type=int, default=50)
    arguments.add_argument("--starts", type=int, default=10)
    options = arguments.parse_args()
    if not LTUNE.exists():
        sys.exit(f"{LTUNE} is not there: build it with scripts/ltune")
    with tempfile.TemporaryDirectory() as folder:
        starts = []
        for _ in range(options.starts):
            session = Prompt(folder)
            starts.append(session.until(prompt(1)))
            session.leave()

        session = Prompt(folder)
        session.until(prompt(1))
        cells = []
        for number in range(1, options.cells + 1):
            session.send(f"{number} * 2\r")
            cells.append(session.until(prompt(number + 1)))
        menus = []
        for _ in range(options.cells):
            session.send("tune b { schedule = ")
            time.sleep(0.02)
            session.send("\t")
            menus.append(session.until(rb"warmup, stable, then"))
            session.send("\x15")
            time.sleep(0.02)

        number = options.cells + 1
        session.send("model m { init = random }; data r { from = random; rows = 64; length = 16 tokens; split = none }\r")
        session.until(prompt(number + 1))
        session.send("tune a { model = m; data = r; batch = 4 x 1; epochs = 9999 }\r")
        session.until(prompt(number + 2))
        number += 2
        interrupts = []
        for _ in range(10):
            session.send("step a 100000\r")
            session.until(rb"tok/s")
            session.send("\x03")
            number += 1
            interrupts.append(session.until(prompt(number)))
        session.leave()

    rows = [
        ("time to the prompt", starts, 300),
        ("a trivial cell", cells, 10),
        ("a menu of completions", menus, 50),
        ("an interrupt, tiny run", interrupts, 100),
    ]
    print(f"{'':24}{'median':>10}{'worst':>10}{'goal':>10}   (ms)")
    missed = False
    for name, seconds, goal in rows:
        median, worst = 1e3 * statistics.median(seconds), 1e3 * max(seconds)
        missed |= median > goal
        print(f"{name:24}{median:10.1f}{worst:10.1f}{goal:10}")
    sys.exit(missed)


if __name__ == "__main__":
    main()
