#!/usr/bin/env python3
"""What `plan` says of memory and time, and what is then measured: SmolLM2-135M on the CPU, several setups.

    python3 tests/bench/plan.py [--steps 6] [--setup NAME …] [--without-snapshots]

For each setup one process plans, with a fresh probe of the machine, and writes the plan; the next runs that plan, and
its peak resident memory (getrusage) and the median time of its steps without the first are compared. With nothing else
on the machine: a probe beside a compiler says what it is like to train beside a compiler. Prints a table, then one JSON
object a line.
"""

import argparse
import json
import os
import statistics
import tempfile
from pathlib import Path

from common import print_lines, run_ltune, steps_of

RANDOM = "from = random; rows = 64; length = {length} tokens; split = none"
# Name, dtype, data, tune.
SETUPS = [
    ("LoRA r 8 on all, 4 x 256", "f32", RANDOM.format(length=256), "method = lora { rank = 8 }; batch = 4 x 1"),
    ("LoRA r 64 on q and v, 2 x 512", "f32", RANDOM.format(length=512),
     'method = lora { rank = 64; targets = ["q_proj", "v_proj"] }; batch = 2 x 1'),
    ("full, 2 x 256", "f32", RANDOM.format(length=256), "method = full; batch = 2 x 1"),
    ("the last 4 layers, 4 x 256", "f32", RANDOM.format(length=256),
     "method = last_layers { count = 4 }; batch = 4 x 1"),
    ("LoRA r 16, dropout, ragged 8 x 2", "f32",
     'from = "verses"; limit = 800 rows; max_len = 160 tokens; split = none',
     "method = lora { rank = 16; dropout = 0.05 }; batch = 8 x 2"),
    ("packed LoRA r 8, 4 x 256", "f32",
     'from = "verses"; limit = 800 rows; max_len = 256 tokens; packing = on; split = none',
     "method = lora { rank = 8 }; batch = 4 x 1"),
    ("LoRA r 8 on all, 4 x 256, bf16", "bf16", RANDOM.format(length=256),
     "method = lora { rank = 8 }; batch = 4 x 1"),
    ("LoRA r 8 on all, 4 x 256, activations twice", "f32", RANDOM.format(length=256),
     "method = lora { rank = 8 }; batch = 4 x 1; checkpointing = on"),
    ("full, 4 x 256", "f32", RANDOM.format(length=256), "method = full; batch = 4 x 1"),
    ("full, 4 x 256, activations twice", "f32", RANDOM.format(length=256),
     "method = full; batch = 4 x 1; checkpointing = on"),
    ("LoRA r 8 on all, 4 x 256, nf4", "f32; quantization = nf4", RANDOM.format(length=256),
     "method = lora { rank = 8 }; batch = 4 x 1"),
    ("LoRA r 8 on all, 4 x 256, nf4, activations twice", "f32; quantization = nf4", RANDOM.format(length=256),
     "method = lora { rank = 8 }; batch = 4 x 1; checkpointing = on"),
    ("full, 2 x 256, bf16", "bf16", RANDOM.format(length=256), "method = full; batch = 2 x 1"),
]

SCRIPT = """
model base {{ from = "smollm2-135m"; dtype = {dtype}; device = cpu }}
data d {{ {data} }}
tune a {{ model = base; data = d; {tune}; steps = {steps} }}
plan a {{ probe = fresh }} # the tokens are kept from here on
plan a to "p.json"
"""


def measure(setup, steps, with_snapshots):
    name, dtype, data, tune = setup
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        script = SCRIPT.format(dtype=dtype, data=data, tune=tune, steps=steps)
        run_ltune(script, folder)
        planned = json.loads((Path(folder) / "p.json").read_text())["plan"]
        events, measured, _ = run_ltune('run "p.json"\n', folder)
    seconds = [event["seconds"] for event in steps_of(events)]
    snapshots = planned["memory"].get("snapshots", 0)
    peak = planned["peak_bytes"] - (0 if with_snapshots else snapshots)
    step = statistics.median(seconds[1:])
    return {
        "name": name, "planned_bytes": peak, "peak_bytes": measured, "memory_ratio": peak / measured,
        "planned_seconds": planned["seconds"]["step"], "seconds": step,
        "time_ratio": planned["seconds"]["step"] / step, "all_seconds": seconds, "load_before": load,
        "memory": planned["memory"],
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--setup", action="append", help="only setups whose name begins so")
    parser.add_argument("--without-snapshots", action="store_true", help="the run holds none")
    options = parser.parse_args()
    wanted = [setup for setup in SETUPS if not options.setup or setup[0].startswith(tuple(options.setup))]
    rows = []
    print(f"{'':52}{'planned':>9}{'measured':>10}{'':>9}{'planned':>9}{'measured':>10}{'':>9}{'load':>6}")
    for setup in wanted:
        row = measure(setup, options.steps, not options.without_snapshots)
        rows.append(row)
        print(f"{row['name']:52}{row['planned_bytes'] / 1e6:6.0f} MB{row['peak_bytes'] / 1e6:7.0f} MB"
              f"{100 * (row['memory_ratio'] - 1):+7.1f} %{row['planned_seconds']:7.2f} s{row['seconds']:8.2f} s"
              f"{100 * (row['time_ratio'] - 1):+7.1f} %{row['load_before']:6.2f}", flush=True)
    print_lines(rows)


if __name__ == "__main__":
    main()
