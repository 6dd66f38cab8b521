#!/usr/bin/env python3
"""How fast the language is: `ltune check` and the language server on scripts of 100 to 10 000 lines.

    python3 tests/bench/language.py [--lines 100 1000 2000 10000] [--rounds 9] [--ltune target/release/ltune]

`check` is the whole program less the time of an empty script (which is libtorch's own load), the least of all rounds. Of
the server: from opening a script to its diagnostics, from a key to new diagnostics (after a pause of 15 ms), and the round
trip of each question, asked right behind a key; medians. Prints the machine, a table in ms, and the same as JSON lines;
exits with 1 if a script ten times as long takes more than twenty times as long, where the shorter takes 5 ms or more.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HEAD = """ltune 1
model base { init = random }
data chat { from = random; rows = 640; length = 16 tokens; split = none }
let width = 64
"""
PIECE = """
tune t{n} {{
  model    = base
  data     = chat
  method   = lora {{ rank = width / 4; alpha = 32 }}
  lr       = 2e-4  # a comment
  schedule = cosine {{ warmup = 3% }}
  batch    = 4 x 4
}}
step t{n} 20
"""


def script(lines):
    pieces = (lines - HEAD.count("\n")) // PIECE.count("\n")
    return HEAD + "".join(PIECE.format(n=n) for n in range(pieces))


class Server:
    """A server and its only client; places are counted in bytes."""

    def __init__(self, ltune, folder):
        self.process = subprocess.Popen([ltune, "lsp"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=folder)
        self.asked = 0
        self.version = 0
        general = {"positionEncodings": ["utf-8"]}
        self.ask("initialize", {"capabilities": {"general": general}, "rootUri": f"file://{folder}"})
        self.tell("initialized", {})

    def send(self, message):
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        self.process.stdin.write(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        self.process.stdin.flush()

    def tell(self, method, params):
        self.send({"method": method, "params": params})

    def read(self):
        length = 0
        while (line := self.process.stdout.readline()) != b"\r\n":
            if not line:
                sys.exit("the server is gone")
            length = int(line.split(b":")[1])
        return json.loads(self.process.stdout.read(length))

    def ask(self, method, params):
        self.asked += 1
        self.send({"id": self.asked, "method": method, "params": params})
        while (message := self.read()).get("id") != self.asked:
            pass
        if "error" in message:
            sys.exit(f"{method}: {message['error']}")
        return message["result"]

    def diagnostics(self):
        """Those of the newest text."""
        while (message := self.read()).get("params", {}).get("version") != self.version:
            pass
        return message["params"]["diagnostics"]


def timed(act):
    began = time.perf_counter()
    found = act()
    return 1e3 * (time.perf_counter() - began), found


def check(ltune, text, folder, rounds):
    (folder / "a.ltune").write_text(text)
    run = lambda: subprocess.run([ltune, "check", "--quiet", "a.ltune"], cwd=folder, check=True)
    return [timed(run)[0] for _ in range(rounds)]


def served(ltune, text, folder, rounds):
    """Milliseconds of each question, by its name."""
    uri = f"file://{folder}/a.ltune"
    document = {"textDocument": {"uri": uri}}
    lines = text.split("\n")
    last = max(n for n, line in enumerate(lines) if line.startswith("step"))
    server = Server(ltune, folder)
    times = {}

    def measure(name, act, expect=lambda found: True):
        spent, found = timed(act)
        if not expect(found):
            sys.exit(f"{name}: {found}")
        times.setdefault(name, []).append(spent)

    def change(line, start, end, new):
        server.version += 1
        place = {"start": {"line": line, "character": start}, "end": {"line": line, "character": end}}
        versioned = {"uri": uri, "version": server.version}
        edit = {"textDocument": versioned, "contentChanges": [{"range": place, "text": new}]}
        server.tell("textDocument/didChange", edit)

    at = lambda line, character: {**document, "position": {"line": line, "character": character}}
    everything = {"start": {"line": 0, "character": 0}, "end": {"line": len(lines), "character": 0}}
    top = {"start": {"line": 0, "character": 0}, "end": {"line": 60, "character": 0}}
    questions = [
        ("completion", "completion", at(last, 5), lambda found: found["items"]),
        ("hover", "hover", at(last, 2), lambda found: "optimizer" in found["contents"]["value"]),
        ("formatting", "formatting", {**document, "options": {"tabSize": 2, "insertSpaces": True}}, lambda found: found == []),
        ("rename", "rename", {**at(3, 5), "newName": "breadth"}, lambda found: found["documentChanges"][0]["edits"]),
        ("symbols", "documentSymbol", document, len),
        ("semantic tokens", "semanticTokens/full", document, lambda found: found["data"]),
        ("inlay hints", "inlayHint", {**document, "range": top}, len),
        ("code actions", "codeAction", {**document, "range": everything, "context": {"diagnostics": []}}, lambda found: found == []),
    ]
    opened = {"textDocument": {"uri": uri, "languageId": "ltune", "version": 0, "text": text}}
    measure("open", lambda: (server.tell("textDocument/didOpen", opened), server.diagnostics())[1], lambda found: found == [])
    for _ in range(rounds):
        measure("a key that breaks", lambda: (change(last, 0, 1, "S"), server.diagnostics())[1], len)
        measure("a key that mends", lambda: (change(last, 0, 1, "s"), server.diagnostics())[1], lambda found: found == [])
        for name, method, params, expect in questions:
            change(last, 4, 4, " ")
            change(last, 4, 5, "")
            measure(name, lambda: server.ask(f"textDocument/{method}", params), expect)
    server.ask("shutdown", None)
    server.tell("exit", None)
    server.process.wait()
    return times


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--lines", type=int, nargs="+", default=[100, 1000, 2000, 10000])
    arguments.add_argument("--rounds", type=int, default=9)
    arguments.add_argument("--ltune", default=ROOT / "target/release/ltune")
    options = arguments.parse_args()
    ltune = str(Path(options.ltune).resolve())
    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder).resolve()
        empty = min(check(ltune, "", folder, options.rounds))
        for lines in options.lines:
            text = script(lines)
            whole = min(check(ltune, text, folder, options.rounds))
            rows.setdefault("check", {})[lines] = max(whole - empty, 0.0)
            for name, spent in served(ltune, text, folder, options.rounds).items():
                rows.setdefault(name, {})[lines] = statistics.median(spent)
    load = os.getloadavg()[0]
    print(f"{platform.machine()}, {os.cpu_count()} processors, load {load:.1f}; an empty script takes {empty:.0f} ms")
    print(f"{'ms':20}" + "".join(f"{lines:>12,} lines" for lines in options.lines).replace(",", " "))
    for name, row in rows.items():
        print(f"{name:20}" + "".join(f"{row[lines]:18.1f}" for lines in options.lines))
    bent = []
    for name, row in rows.items():
        for few, many in zip(options.lines, options.lines[1:]):
            if row[few] > 5 and row[many] > 2 * (many / few) * row[few]:
                bent.append(f"{name} grows faster than the script: {row[few]:.1f} ms to {row[many]:.1f} ms")
    for name, row in rows.items():
        print(json.dumps({"bench": "language", "what": name, "ms": {str(lines): round(row[lines], 3) for lines in options.lines}}))
    print("\n".join(bent), end="\n" if bent else "", file=sys.stderr)
    sys.exit(bool(bent))


if __name__ == "__main__":
    main()
