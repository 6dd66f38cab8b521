#!/usr/bin/env python3
"""One LoRA step on SmolLM2-135M, 4 x 256 tokens: ltune against transformers + PEFT, in turn, in one run.

    python3 tests/bench/cpu.py [--steps 8] [--peer PYTHON]

ltune is `target/release/ltune` (build it with scripts/ltune). PYTHON is a Python that has torch 2.11.0,
transformers 5.23.0 and peft 0.21.2; it defaults to this one. Both sides load the same weights (ltune writes them as
a Hugging Face folder), the same adapter shape and the same batches; the first step of each is left out. Prints a
table, then one JSON object a line.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WIKI = ROOT / "tests/fixtures/reference/wiki_5120_tokens.txt"
TRACE = ROOT / "tests/fixtures/reference/lora_trace.json"

SCRIPT = """
model base {{ from = "smollm2-135m"; dtype = f32; device = cpu }}
data wiki {{ from = "{wiki}"; format = text; max_len = 256 tokens; eos = off; split = none; shuffle = off }}
tune a {{
  model = base
  data = wiki
  method = {method}
  optimizer = adamw {{ weight_decay = 0 }}
  lr = {lr}
  schedule = constant
  batch = 4 x 1
  epochs = {epochs}
}}
step a {steps}
"""

PEER = r"""
import json, resource, sys, time
import torch
from transformers import AutoModelForCausalLM
folder, trace, steps, tuned, method = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4] == "tuned", sys.argv[5]
if tuned:
    torch.set_float32_matmul_precision("medium")
model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
lr = 2e-5
if method == "lora":
    from peft import LoraConfig, get_peft_model
    linears = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    model = get_peft_model(model, LoraConfig(r=8, lora_alpha=16, target_modules=linears, task_type="CAUSAL_LM"))
    lr = 1e-3
model.train()
ids = torch.tensor(json.load(open(trace))["token_ids"]).view(-1, 4, 256)
trained = [p for p in model.parameters() if p.requires_grad]
optimizer = torch.optim.AdamW(trained, lr=lr, weight_decay=0.0)
for step in range(steps):
    started = time.perf_counter()
    batch = ids[step % len(ids)]
    loss = model(input_ids=batch, labels=batch).loss
    loss.backward()
    torch.nn.utils.clip_grad_norm_(trained, 1.0)
    optimizer.step()
    optimizer.zero_grad()
    print(json.dumps({"step": step + 1, "loss": loss.item(), "seconds": time.perf_counter() - started}))
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps({"peak": peak}))
"""


def ltune_binary():
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    binary = target / "release/ltune"
    if not binary.exists():
        sys.exit(f"{binary} is not there: run scripts/ltune --help once")
    return binary


def run_ltune(binary, method, steps, folder):
    text = {"lora": ("lora { rank = 8; alpha = 16 }", "1e-3"), "full": ("full", "2e-5")}[method]
    script = SCRIPT.format(wiki=WIKI, method=text[0], lr=text[1], steps=steps, epochs=steps)
    command = ["/usr/bin/env", "python3", "-c", MEASURED, str(binary), "--json", "-"]
    done = subprocess.run(command, input=script, capture_output=True, text=True, cwd=folder)
    if done.returncode != 0:
        sys.exit(done.stdout[-2000:] + done.stderr)
    events = [json.loads(line) for line in done.stdout.splitlines()]
    seconds = [event["seconds"] for event in events if event.get("type") == "step"]
    losses = [event["loss"] for event in events if event.get("type") == "step"]
    return seconds, losses, events[-1]["peak"]


# Runs a program and adds a line with its peak resident memory.
MEASURED = """
import json, resource, subprocess, sys
code = subprocess.run(sys.argv[1:]).returncode
print(json.dumps({"peak": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024}), flush=True)
sys.exit(code)
"""


def run_peer(python, weights, method, steps, tuned):
    environment = dict(os.environ)
    if tuned:  # the allocator thresholds that ltune sets for itself
        environment |= {"MALLOC_MMAP_THRESHOLD_": "4294967296", "MALLOC_TRIM_THRESHOLD_": "4294967296",
                        "MALLOC_TOP_PAD_": "67108864"}
    arguments = [python, "-c", PEER, str(weights), str(TRACE), str(steps), "tuned" if tuned else "default", method]
    done = subprocess.run(arguments, capture_output=True, text=True, env=environment)
    if done.returncode != 0:
        sys.exit(done.stderr[-2000:])
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return [line["seconds"] for line in lines[:-1]], [line["loss"] for line in lines[:-1]], lines[-1]["peak"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--peer", default=sys.executable)
    parser.add_argument("--method", choices=["lora", "full"], default="lora")
    options = parser.parse_args()
    binary = ltune_binary()
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "weights"
        saved = subprocess.run(
            [binary, "-c", f'model base {{ from = "smollm2-135m" }}', "-c", f'save base to "{weights}"'],
            capture_output=True, text=True, cwd=folder)
        if saved.returncode != 0:
            sys.exit(saved.stderr)
        runs = [("ltune f32", lambda: run_ltune(binary, options.method, options.steps, folder))]
        for name, tuned in [("transformers + PEFT, default", False), ("transformers + PEFT, tuned", True)]:
            runs.append((name, lambda tuned=tuned: run_peer(options.peer, weights, options.method, options.steps, tuned)))
        rows = []
        for name, run in runs:
            seconds, losses, peak = run()
            rows.append({"name": name, "method": options.method, "seconds": statistics.median(seconds[1:]),
                         "all_seconds": seconds, "last_loss": losses[-1], "peak_bytes": peak})
    ours = rows[0]
    print(f"machine: {platform.processor() or platform.machine()}, {os.cpu_count()} cores")
    print(f"{'':32}{'s a step':>10}{'ltune is':>10}{'tokens/s':>10}{'peak':>10}{'loss':>10}")
    for row in rows:
        row["ratio"] = ours["seconds"] / row["seconds"]
        print(f"{row['name']:32}{row['seconds']:10.3f}{row['ratio']:9.2f}x{1024 / row['seconds']:10.0f}"
              f"{row['peak_bytes'] / 2**30:8.2f} G{row['last_loss']:10.4f}")
    for row in rows:
        print(json.dumps(row))


if __name__ == "__main__":
    main()
