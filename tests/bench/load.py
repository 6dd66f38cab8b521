#!/usr/bin/env python3
"""From a safetensors folder to a model that has answered: ltune against from_pretrained.

    python3 tests/bench/load.py [--peer PYTHON] [--rounds 3]

SmolLM2-135M as a Hugging Face folder in f32 (538 MB), held in the system's memory by a first round that is left out. Each
side starts a process, loads the weights, and computes the loss of one row of 64 tokens. "Load" is the loading alone, as each
side tells it; peak is the process's resident memory. Prints medians, then one JSON object a line.
"""

import argparse
import re
import statistics
import sys
import tempfile

from common import machine, print_lines, print_table, run_ltune, run_python, save_weights

SCRIPT = """
model base {{ from = "{weights}"; device = cpu; dtype = f32 }}
data d {{ from = random; rows = 1; length = 64 tokens; split = none }}
eval base on d
"""

PEER = r"""
import json, resource, sys, time, torch
from transformers import AutoModelForCausalLM
began = time.perf_counter()
model = AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=torch.float32)
loaded = time.perf_counter() - began
ids = torch.arange(64).view(1, 64)
with torch.no_grad():
    loss = model(input_ids=ids, labels=ids).loss.item()
print(json.dumps({"load": loaded, "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}))
"""


def ours(weights, folder):
    events, peak, seconds = run_ltune(SCRIPT.format(weights=weights), folder)
    told = next(event["text"] for event in events if "parameters" in event.get("text", ""))
    number, unit = re.search(r"([\d.]+) (m?s)$", told).groups()
    return {"load": float(number) * (1e-3 if unit == "ms" else 1), "peak": peak, "seconds": seconds}


def theirs(python, weights):
    lines, seconds = run_python(python, PEER, weights)
    return {"seconds": seconds, **lines[-1]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peer", default=sys.executable)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        weights = save_weights(folder)
        rows = []
        for name, run in [("ltune", lambda: ours(weights, folder)), ("transformers", lambda: theirs(options.peer, weights))]:
            rounds = [run() for _ in range(options.rounds + 1)][1:]
            rows.append({"name": name} | {key: statistics.median(round[key] for round in rounds) for key in rounds[0]})
    for row in rows:
        row["ratio"] = rows[0]["seconds"] / row["seconds"]
    print(f"machine: {machine()}")
    print_table(["", "load", "start to answer", "ltune is", "peak"],
                [[row["name"], f"{row['load']:.2f} s", f"{row['seconds']:.2f} s", f"{row['ratio']:.2f} x",
                  f"{row['peak'] / 2**20:.0f} MiB"] for row in rows])
    print_lines(rows)


if __name__ == "__main__":
    main()
