#!/usr/bin/env python3
"""What going through time costs: bytes a snapshot, and the time of each verb, on SmolLM2-135M.

    python3 tests/bench/time_travel.py [--method lora|full] [--steps 8]

ltune is `target/release/ltune` (build it with scripts/ltune). The times are those that ltune itself reports in its
`move` events, over several calls of each verb; a step of the same run stands beside them. Prints a table, then one
JSON object a line.
"""

import argparse
import json
import statistics
import tempfile

from common import ROOT, machine, run_ltune, steps_of

WIKI = ROOT / "tests/fixtures/reference/wiki_5120_tokens.txt"

SCRIPT = """
model base {{ from = "smollm2-135m"; dtype = f32; device = cpu }}
data wiki {{ from = "{wiki}"; format = text; max_len = 256 tokens; eos = off; split = none; shuffle = off }}
tune a {{ model = base; data = wiki; method = {method}; batch = 4 x 1; epochs = 9 }}
step a {steps}
{moves}
show a
"""


def moves(steps):
    lines = []
    for round_ in range(5):
        near, far = steps - 1 - round_ % 2, 1 + round_ % 3
        lines += ["undo a 1 steps", "redo a", f"goto a {far}", f"goto a {steps}", f"goto a {near}", "undo a",
                  f"fork a as f{round_}", f"fork a as g{round_} at {far}", f"drop f{round_}", f"drop g{round_}"]
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--method", choices=["lora", "full"], default="lora")
    parser.add_argument("--steps", type=int, default=8)
    options = parser.parse_args()
    method = {"lora": "lora { rank = 16 }", "full": "full"}[options.method]
    script = SCRIPT.format(wiki=WIKI, method=method, steps=options.steps, moves=moves(options.steps))
    with tempfile.TemporaryDirectory() as folder:
        events, _, _ = run_ltune(script, folder)
    replays = [event["text"] for event in events if event["type"] == "note" and "taking" in event["text"]]
    steps = [event["seconds"] for event in steps_of(events)]
    verbs = {}
    for event in events:
        if event["type"] == "move":
            verbs.setdefault(event["verb"], []).append(event["seconds"])
    state = next(table for table in reversed(events) if table["type"] == "table" and table["columns"][0]["name"] == "state")
    held = next(row[1] for row in state["rows"] if row[0] == "snapshots")
    rows = [{"verb": "step", "median": statistics.median(steps[1:]), "worst": max(steps[1:]), "count": len(steps) - 1}]
    for verb, seconds in verbs.items():
        rows.append({"verb": verb, "median": statistics.median(seconds), "worst": max(seconds), "count": len(seconds)})
    print(f"machine: {machine()}; SmolLM2-135M, {method}, 4 x 256")
    print(f"snapshots: {held}; {len(replays)} of the moves took steps again")
    print(f"{'verb':8}{'median':>12}{'worst':>12}{'calls':>8}")
    for row in rows:
        print(f"{row['verb']:8}{1e3 * row['median']:9.1f} ms{1e3 * row['worst']:9.1f} ms{row['count']:8}")
    for row in rows:
        print(json.dumps(row | {"method": options.method, "snapshots": held}))


if __name__ == "__main__":
    main()
