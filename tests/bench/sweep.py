#!/usr/bin/env python3
"""How cost grows: tokens a second and peak memory over length, batch and rank, on SmolLM2-135M.

    python3 tests/bench/sweep.py [--axis length batch rank] [--dtype f32 bf16] [--steps 3] [--peer PYTHON]
                                 [--plot tests/bench/sweep.svg]

Lengths 128 to 2048 at one row, batches of 1 to 32 rows at 128 tokens, ranks 4 to 192 (as wide as k_proj) at 4 x 128; LoRA r 8 on all linears
where the rank stands still; the median of the steps after the first. With --peer transformers + PEFT runs each point too, in f32
as it comes and in the same run. Prints a table, then one JSON object a line; --plot needs a Python with matplotlib.
"""

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

from common import machine, print_lines, print_table, run_ltune, run_python, save_weights, steps_of

AXES = {
    "length": [(1, length, 8) for length in [128, 256, 512, 1024, 2048]],
    "batch": [(batch, 128, 8) for batch in [1, 2, 4, 8, 16, 32]],
    "rank": [(4, 128, rank) for rank in [4, 8, 16, 32, 64, 128, 192]],
}

PEER_NAME = "transformers + PEFT, f32"
COLORS = {"ltune, f32": "#0b6e99", "ltune, bf16": "#5aae61", PEER_NAME: "#c2572b"}

SCRIPT = """
model base {{ from = "smollm2-135m"; dtype = {dtype}; device = cpu }}
data d {{ from = random; rows = {rows}; length = {length} tokens; split = none }}
tune a {{ model = base; data = d; method = lora {{ rank = {rank}; alpha = {rank} }}; batch = {batch} x 1; epochs = 1; snapshots = 0B }}
step a {steps}
"""

PEER = r"""
import json, resource, sys, time, torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM
folder, batch, length, rank, steps = sys.argv[1], *map(int, sys.argv[2:])
model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
linears = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
model = get_peft_model(model, LoraConfig(r=rank, lora_alpha=rank, target_modules=linears, task_type="CAUSAL_LM"))
model.train()
trained = [p for p in model.parameters() if p.requires_grad]
optimizer = torch.optim.AdamW(trained, lr=2e-4)
for step in range(steps):
    began = time.perf_counter()
    ids = torch.randint(0, 49152, (batch, length))
    loss = model(input_ids=ids, labels=ids).loss
    loss.backward()
    torch.nn.utils.clip_grad_norm_(trained, 1.0)
    optimizer.step()
    optimizer.zero_grad()
    print(json.dumps({"seconds": time.perf_counter() - began}))
print(json.dumps({"peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}))
"""


def point(steps, peak, batch, length, **named):
    seconds = statistics.median(step["seconds"] for step in steps[1:])
    print(f"{named['name']}: {batch} x {length}, rank {named['rank']}: {batch * length / seconds:.0f} tokens/s", file=sys.stderr)
    return {**named, "batch": batch, "length": length, "tokens_a_second": batch * length / seconds, "peak_bytes": peak}


def measure(options, axis, folder, weights):
    for batch, length, rank in AXES[axis]:
        for dtype in options.dtype:
            script = SCRIPT.format(rows=batch * options.steps, length=length, rank=rank, batch=batch, steps=options.steps,
                                   dtype=dtype)
            events, peak, _ = run_ltune(script, folder)
            yield point(steps_of(events), peak, batch, length, axis=axis, name=f"ltune, {dtype}", rank=rank)
        if options.peer:
            lines, _ = run_python(options.peer, PEER, weights, batch, length, rank, options.steps)
            yield point(lines[:-1], lines[-1]["peak"], batch, length, axis=axis, name=PEER_NAME, rank=rank)


def plot(rows, axes, path):
    import matplotlib
    matplotlib.use("svg")
    import matplotlib.pyplot as pyplot
    pyplot.rcParams |= {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}
    figure, grid = pyplot.subplots(2, len(axes), figsize=(3.4 * len(axes), 5), sharey="row", squeeze=False)
    titles = {"length": "length (tokens, one row)", "batch": "batch (rows of 128)", "rank": "rank (4 x 128)"}
    for column, axis in enumerate(axes):
        for name, color in COLORS.items():
            points = [row for row in rows if row["axis"] == axis and row["name"] == name]
            if not points:
                continue
            x = [row[axis] for row in points]
            grid[0][column].plot(x, [row["tokens_a_second"] for row in points], "o-", ms=3.5, color=color, label=name)
            grid[1][column].plot(x, [row["peak_bytes"] / 2**30 for row in points], "o-", ms=3.5, color=color)
        for panel in grid[:, column]:
            panel.set_xscale("log", base=2)
            panel.grid(alpha=0.25)
            panel.xaxis.set_major_formatter(matplotlib.ticker.FuncFormatter(lambda value, _: f"{value:g}"))
        grid[1][column].set_xlabel(titles[axis])
    grid[0][0].set_ylabel("tokens a second")
    grid[1][0].set_ylabel("peak memory (GiB)")
    for panel in grid[:, 0]:
        panel.autoscale(axis="y")
        panel.set_ylim(bottom=0)
    lines, names = grid[0][0].get_legend_handles_labels()
    figure.legend(lines, names, loc="upper center", ncol=len(names), frameon=False)
    figure.tight_layout(rect=(0, 0, 1, 0.94))
    figure.savefig(path, metadata={"Date": None})


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--axis", nargs="+", choices=AXES, default=list(AXES))
    parser.add_argument("--dtype", nargs="+", choices=["f32", "bf16"], default=["f32"])
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--peer")
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        weights = save_weights(folder) if options.peer else None
        rows = [row for axis in options.axis for row in measure(options, axis, folder, weights)]
    print(f"machine: {machine()}")
    print_table(["", "axis", "batch", "length", "rank", "tokens/s", "peak"],
                [[row["name"], row["axis"], row["batch"], row["length"], row["rank"], f"{row['tokens_a_second']:.0f}",
                  f"{row['peak_bytes'] / 2**30:.2f} GiB"] for row in rows])
    print_lines(rows)
    if options.plot:
        plot(rows, options.axis, options.plot)


if __name__ == "__main__":
    main()
