#!/usr/bin/env python3
"""One step on SmolLM2-135M, 4 x 256 tokens: ltune against transformers + PEFT, in turn, in one run.

    python3 tests/bench/cpu.py [--steps 6] [--method lora|full] [--dtype f32 bf16] [--peer PYTHON] [--alone]

ltune is `target/release/ltune` (build it with scripts/ltune). PYTHON is a Python that has torch 2.11.0,
transformers 5.23.0 and peft 0.21.2; it defaults to this one. Both sides load the same weights (ltune writes them as
a Hugging Face folder), the same adapter shape and the same batches; the first step of each is left out. "Tuned" is with
ltune's thresholds of the allocator, and with float32 products by oneDNN where those are as accurate as float32. A processor
without bf16 takes minutes for each step of peers in it: leave it out there (`--dtype f32`). "Share" is the arithmetic of a step at the rate that a product
of 2048 x 2048 matrices of its kind reaches in the same run, over its time: 4 N + 6 N_adapter FLOP a token with LoRA, 6 N
with full fine-tuning, N with the output head, attention not counted. Prints a table, then one JSON object a line. With
--alone no peer runs.
"""

import argparse
import statistics
import sys
import tempfile
from functools import partial

from common import ROOT, machine, print_lines, print_table, product_rate, run_ltune, run_python, save_weights, steps_of

WIKI = ROOT / "tests/fixtures/reference/wiki_5120_tokens.txt"
TRACE = ROOT / "tests/fixtures/reference/lora_trace.json"
TOKENS = 1024
# Parameters that a token is multiplied by: the linear layers and the (tied) output head; and those of the adapter.
WEIGHTS, ADAPTER = 134_479_872, 2_442_240

SCRIPT = """
model base {{ from = "smollm2-135m"; dtype = {dtype}; device = cpu }}
data wiki {{ from = "{wiki}"; format = text; max_len = 256 tokens; eos = off; split = none; shuffle = off }}
tune a {{
  model = base
  data = wiki
  method = {method}
  optimizer = adamw {{ weight_decay = 0 }}
  lr = {lr}
  schedule = constant
  batch = 4 x 1
  epochs = {steps}
}}
step a {steps}
"""

PEER = r"""
import json, resource, sys, time
import torch
from transformers import AutoModelForCausalLM
folder, trace, steps, tuned, method, dtype = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4] == "tuned", *sys.argv[5:]
if tuned:
    torch.set_float32_matmul_precision("medium")
    a, b = torch.randn(256, 320), torch.randn(320, 256)
    exact = a.double() @ b.double()
    if (a @ b - exact).norm() > 1e-5 * exact.norm():
        torch.set_float32_matmul_precision("highest")  # this processor would multiply in bf16
model = AutoModelForCausalLM.from_pretrained(folder, dtype={"f32": torch.float32, "bf16": torch.bfloat16}[dtype])
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
    print(json.dumps({"loss": loss.item(), "seconds": time.perf_counter() - started}))
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps({"peak": peak}))
"""


def ours(options, folder, dtype):
    method, lr = {"lora": ("lora { rank = 8; alpha = 16 }", "1e-3"), "full": ("full", "2e-5")}[options.method]
    script = SCRIPT.format(wiki=WIKI, dtype=dtype, method=method, lr=lr, steps=options.steps)
    events, peak, _ = run_ltune(script, folder)
    return steps_of(events), peak


def theirs(options, weights, word, dtype):
    arguments = (weights, TRACE, options.steps, word, options.method, dtype)
    lines, _ = run_python(options.peer, PEER, *arguments, tuned=word == "tuned")
    return lines[:-1], lines[-1]["peak"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--peer", default=sys.executable)
    parser.add_argument("--method", choices=["lora", "full"], default="lora")
    parser.add_argument("--dtype", nargs="+", choices=["f32", "bf16"], default=["f32", "bf16"])
    parser.add_argument("--alone", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        runs = [("ltune", dtype, partial(ours, options, folder, dtype)) for dtype in options.dtype]
        if not options.alone:
            weights = save_weights(folder)
            for dtype in options.dtype:
                for word in ["default", "tuned"]:
                    run = partial(theirs, options, weights, word, dtype)
                    runs.append((f"transformers + PEFT, {word}", dtype, run))
        rates = {dtype: product_rate(options.peer, dtype) for dtype in options.dtype}
        rows = []
        for name, dtype, run in runs:
            print(f"{name}, {dtype} …", file=sys.stderr, flush=True)
            steps, peak = run()
            seconds = [step["seconds"] for step in steps]
            rows.append({"name": f"{name}, {dtype}", "method": options.method, "dtype": dtype,
                         "seconds": statistics.median(seconds[1:]), "all_seconds": seconds,
                         "last_loss": steps[-1]["loss"], "peak_bytes": peak})
    flop = TOKENS * (6 * WEIGHTS if options.method == "full" else 4 * WEIGHTS + 6 * ADAPTER)
    ours_rows, table = rows[:len(options.dtype)], []
    for row in rows:
        rate = rates[row["dtype"]]
        row |= {"ratios": [own["seconds"] / row["seconds"] for own in ours_rows],
                "memory_ratios": [own["peak_bytes"] / row["peak_bytes"] for own in ours_rows],
                "share": flop / rate / row["seconds"], "product_rate": rate}
        times = [[f"{ratio:.2f} x" for ratio in ratios] for ratios in (row["ratios"], row["memory_ratios"])]
        table.append([row["name"], f"{row['seconds']:.3f}", *times[0], f"{TOKENS / row['seconds']:.0f}",
                      f"{row['peak_bytes'] / 2**30:.2f} GiB", *times[1], f"{row['share']:.0%}", f"{row['last_loss']:.4f}"])
    products = ", ".join(f"{dtype} products at {rate / 1e9:.0f} GFLOP/s" for dtype, rate in rates.items())
    print(f"machine: {machine()}; {products}")
    are = [f"ltune {dtype} is" for dtype in options.dtype]
    print_table(["", "s a step", *are, "tokens/s", "peak", *are, "share", "loss"], table)
    print_lines(rows)


if __name__ == "__main__":
    main()
