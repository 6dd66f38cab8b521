#!/usr/bin/env python3
"""Fine-tuning steps on one GPU: ltune against transformers + PEFT, in turn, in one run, on random weights of real shapes.

    python3 tests/bench/cuda.py                                      # on a GPU: check, gemm, 1b, 8b, 3b, full 1b
    python3 tests/bench/cuda.py --shape 135m --rows 4 --length 256 --document 256  # a small model, and its CUDA graph
    python3 tests/bench/cuda.py --device cpu --shape tiny --steps 4  # the same on any machine, to try the script

ltune is `target/release/ltune` (`--binary`); PYTHON is a Python with torch 2.11.0, transformers 5.23.0 and peft 0.21.2, this one
by default (`--peer`). Nothing is built and nothing is fetched. Each measurement is a process of its own; its first steps
are left out. ltune packs documents (`--document` tokens each) into `--rows` rows of `--length`; peers get as many tokens in
dense rows. Where a row is one document ltune runs once more with `cuda_graph = on`. Peers run with checkpointing on and off, and with Liger kernels where `--liger` is given; one that runs out
of memory says so. `--tests` names ltune's unit test binary: then its kernels are first held against their oracles.
Prints a table, then one JSON object a line. On a machine that lends a GPU: carry the binary (stripped), put torch/lib and
nvidia/cu13/lib on LD_LIBRARY_PATH, and write LTUNE_CACHE somewhere that exists.
"""

import argparse
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from common import MEASURED, ROOT

# vocabulary, width, mlp, layers, heads, groups, head width, tied; the preset's name
SHAPES = {
    "tiny": (512, 64, 176, 2, 4, 2, 16, True, "tiny"),
    "135m": (49_152, 576, 1536, 30, 9, 3, 64, True, "smollm2-135m"),
    "1b": (128_256, 2048, 8192, 16, 32, 8, 64, True, "llama-3.2-1b"),
    "3b": (128_256, 3072, 8192, 28, 24, 8, 128, True, "llama-3.2-3b"),
    "8b": (128_256, 4096, 14_336, 32, 32, 8, 128, False, "llama-3.1-8b"),
}

SCRIPT = """
model base {{ init = random {{ preset = "{preset}"; seed = 1 }}; dtype = {dtype}; device = {device} }}
data r {{ from = random; rows = {documents}; length = {document} tokens; max_len = {length} tokens; packing = on; split = none }}
tune a {{
  model = base
  data = r
  method = {method}
  cuda_graph = {cuda_graph}
  optimizer = adamw {{ weight_decay = 0 }}
  lr = 1e-4
  schedule = constant
  batch = {rows} x 1
  epochs = 1
}}
step a {steps}
show a
"""

GEMM = r"""
import json, sys, time, torch
device, size = sys.argv[1], int(sys.argv[2])
kind = torch.bfloat16 if device == "cuda" else torch.float32
wait = torch.cuda.synchronize if device == "cuda" else (lambda: None)
a, b = (torch.randn(size, size, device=device, dtype=kind) for _ in range(2))
for _ in range(3): a @ b
wait()
times = []
for _ in range(10):
    started = time.perf_counter(); a @ b; wait(); times.append(time.perf_counter() - started)
name = torch.cuda.get_device_name() if device == "cuda" else "cpu"
print(json.dumps({"rate": 2 * size**3 / sorted(times)[5], "device": name, "torch": torch.__version__}))
"""

PEER = r"""
import json, resource, sys, time
import torch
from transformers import LlamaConfig, LlamaForCausalLM
o = json.loads(sys.argv[1])
cuda = o["device"] == "cuda"
if o["liger"]:
    from liger_kernel.transformers import apply_liger_kernel_to_llama
    apply_liger_kernel_to_llama()
vocab, width, mlp, layers, heads, groups, head, tied, _ = o["shape"]
config = LlamaConfig(vocab_size=vocab, hidden_size=width, intermediate_size=mlp, num_hidden_layers=layers,
                     num_attention_heads=heads, num_key_value_heads=groups, head_dim=head, tie_word_embeddings=tied,
                     max_position_embeddings=max(2048, o["length"]), rope_theta=500000.0, attn_implementation="sdpa")
half = cuda and not o["master"]
torch.set_default_dtype(torch.bfloat16 if half else torch.float32)
with torch.device(o["device"]):
    model = LlamaForCausalLM(config)
torch.set_default_dtype(torch.float32)
model.config.use_cache = False
if o["checkpointing"]:
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
if o["method"] == "lora":
    from peft import LoraConfig, get_peft_model
    linears = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    if o["checkpointing"]: model.enable_input_require_grads()
    model = get_peft_model(model, LoraConfig(r=o["rank"], lora_alpha=2 * o["rank"], target_modules=linears, task_type="CAUSAL_LM"))
model.train()
trained = [p for p in model.parameters() if p.requires_grad]
optimizer = torch.optim.AdamW(trained, lr=1e-4, weight_decay=0.0, fused=True)
torch.manual_seed(1)
losses, seconds = [], []
if cuda: torch.cuda.reset_peak_memory_stats()
try:
    for step in range(o["steps"]):
        ids = torch.randint(vocab, (o["rows"], o["length"]), device=o["device"])
        if cuda: torch.cuda.synchronize()
        started = time.perf_counter()
        with torch.autocast("cuda", torch.bfloat16, enabled=cuda and o["master"]):
            loss = model(input_ids=ids, labels=ids).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
        if cuda: torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
except torch.OutOfMemoryError:
    print(json.dumps({"out_of_memory": True})); sys.exit()
peak = torch.cuda.max_memory_allocated() if cuda else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps({"seconds": seconds, "loss": losses[-1], "peak_bytes": peak}))
"""

UNITS = {"B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12}


def json_lines(text):
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def flops_a_token(shape, method, rank, context):
    """Forward and backward, nothing recomputed; what is frozen takes no gradient of its weights."""
    vocab, width, mlp, layers, heads, groups, head, _, _ = SHAPES[shape]
    sides = [(width, heads * head), (width, groups * head), (width, groups * head), (heads * head, width),
             (width, mlp), (width, mlp), (mlp, width)]
    linears = layers * sum(i * o for i, o in sides) + vocab * width
    attention = layers * 6 * heads * head * context
    if method == "full":
        return 6 * linears + attention
    return 4 * linears + 6 * layers * sum((i + o) * rank for i, o in sides) + attention


def run_ltune(options, shape, method, cuda_graph="off"):
    text = f"lora {{ rank = {options.rank}; alpha = {2 * options.rank} }}" if method == "lora" else "full"
    a_row = max(1, options.length // options.document)
    script = SCRIPT.format(preset=SHAPES[shape][-1], dtype="bf16" if options.device == "cuda" else "f32", device=options.device,
                           documents=a_row * options.rows * options.steps, document=min(options.document, options.length),
                           length=options.length, method=text, cuda_graph=cuda_graph, rows=options.rows, steps=options.steps)
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", MEASURED, str(options.binary), "--json", "-"]
        done = subprocess.run(command, input=script, capture_output=True, text=True, cwd=folder)
    if done.returncode != 0:
        return {"failed": (done.stdout + done.stderr)[-1500:]}
    events = json_lines(done.stdout)
    steps = [event for event in events if event.get("type") == "step"]
    found = re.search(r"([\d.]+) ([kMGT]?B) at the most", done.stdout.replace("\u00a0", " "))
    peak = float(found[1]) * UNITS[found[2]] if found else events[-1]["peak"]
    return {"seconds": [step["seconds"] for step in steps], "loss": steps[-1]["loss"], "peak_bytes": peak}


def run_peer(options, shape, method, **more):
    order = {"device": options.device, "shape": SHAPES[shape], "method": method, "rank": options.rank, "rows": options.rows,
             "length": options.length, "steps": options.steps, "checkpointing": False, "liger": False, "master": False} | more
    done = subprocess.run([options.peer, "-c", PEER, json.dumps(order)], capture_output=True, text=True)
    if done.returncode != 0:
        return {"failed": done.stderr[-1500:]}
    return json_lines(done.stdout)[-1]


def contestants(options, method):
    yield "ltune", lambda shape: run_ltune(options, shape, method)
    if options.document >= options.length:
        yield "ltune, cuda_graph", lambda shape: run_ltune(options, shape, method, cuda_graph="on")
    if options.without_peers:
        return
    # A full fine-tune of ltune keeps fp32 weights: its like is fp32 under autocast; bf16 alone is what many run.
    kinds = [{}] if method == "lora" else [{"master": True}, {}] if options.device == "cuda" else [{"master": True}]
    for kind in kinds:
        for liger in [False, True] if options.liger else [False]:
            for checkpointing in [False, True]:
                name = "transformers" + (" + PEFT" if method == "lora" else "") + (", Liger" if liger else "")
                name += ", fp32 weights" if kind else "" if method == "lora" else ", bf16 alone"
                name += ", checkpointing" if checkpointing else ""
                yield name, lambda shape, kind=kind, liger=liger, checkpointing=checkpointing: run_peer(
                    options, shape, method, liger=liger, checkpointing=checkpointing, **kind)


def measure(options, shape, method, rate):
    rows = []
    for name, run in contestants(options, method):
        found = run(shape)
        row = {"name": name, "shape": shape, "method": method, "device": options.device} | found
        if "seconds" in found:
            row["seconds_a_step"] = statistics.median(found["seconds"][min(2, len(found["seconds"]) - 1):])
            row["tokens_per_s"] = options.rows * options.length / row["seconds_a_step"]
            context = min(options.document, options.length) if name.startswith("ltune") else options.length
            row["share"] = row["tokens_per_s"] * flops_a_token(shape, method, options.rank, context) / rate if rate else None
        rows.append(row)
        print(f"{shape:5}{method:6}{name:48}" + said(row, rows[0]), flush=True)
    return rows


def said(row, ours):
    if "seconds_a_step" not in row:
        return "out of memory" if row.get("out_of_memory") else "failed: " + row["failed"].strip().splitlines()[-1]
    ratio = ours["tokens_per_s"] / row["tokens_per_s"] if "tokens_per_s" in ours else float("nan")
    share = f"{100 * row['share']:6.1f} %" if row["share"] else ""
    return f"{row['seconds_a_step']:9.4f} s{row['tokens_per_s']:11.0f} tok/s{ratio:7.2f} x{row['peak_bytes'] / 1e9:9.2f} GB{share}"


def check(options):
    """The kernels of ltune on this GPU against their oracles."""
    if not options.tests:
        return print("check: passed over; --tests names ltune's unit test binary")
    done = subprocess.run([options.tests, "on_a_gpu", "--nocapture"], capture_output=True, text=True)
    print(done.stdout[-2000:])
    if done.returncode != 0 or (options.device == "cuda" and "skipped" in done.stdout):
        sys.exit("the kernels are not what their oracles are; nothing is measured")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--shape", default="1b,8b,3b", help="of " + ", ".join(SHAPES) + "; several by commas, in order")
    parser.add_argument("--method", default="lora,full", help="lora, full or both; full is measured up to 1b")
    parser.add_argument("--rows", type=int, default=2)
    parser.add_argument("--length", type=int, default=2048)
    parser.add_argument("--document", type=int, default=512)
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--binary", default=Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release/ltune")
    parser.add_argument("--tests", help="ltune's unit test binary, target/release/deps/ltune-…")
    parser.add_argument("--peer", default=sys.executable)
    parser.add_argument("--liger", action="store_true")
    parser.add_argument("--without-peers", action="store_true")
    options = parser.parse_args()
    shapes, methods = options.shape.split(","), options.method.split(",")
    if unknown := [shape for shape in shapes if shape not in SHAPES] + [m for m in methods if m not in ("lora", "full")]:
        parser.error(f"`{unknown[0]}` is not known: shapes are {', '.join(SHAPES)}, methods lora and full")
    if not Path(options.binary).exists():
        sys.exit(f"{options.binary} is not there: run scripts/ltune --help once, or name it with --binary")
    check(options)
    size = 8192 if options.device == "cuda" else 1024
    done = subprocess.run([options.peer, "-c", GEMM, options.device, str(size)], capture_output=True, text=True)
    gemm = json_lines(done.stdout)[-1] if done.returncode == 0 else {"rate": None, "failed": done.stderr[-500:]}
    rate = gemm["rate"]
    print(f"machine: {gemm.get('device', 'unknown')}, {platform.machine()}, {os.cpu_count()} cores; "
          + (f"a product of {size}³ runs at {rate / 1e12:.2f} TFLOP/s" if rate else f"no product: {gemm['failed']}"))
    print(f"{options.rows} x {options.length} tokens a step, documents of {options.document}, rank {options.rank}; "
          "the ratio is ltune's speed over the row's; the share is of that product's rate")
    rows = []
    for method in methods:
        for shape in shapes:
            if method == "lora" or shape in ("tiny", "135m", "1b"):
                rows += measure(options, shape, method, rate)
    print(json.dumps({"gemm": gemm, "size": size}))
    for row in rows:
        print(json.dumps(row))


if __name__ == "__main__":
    main()
