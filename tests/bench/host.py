#!/usr/bin/env python3
"""What a layer costs before any arithmetic: a model of 32 layers so small that a step is dispatch alone, against PyTorch eager.

    python3 tests/bench/host.py [--steps 60] [--peer PYTHON]

Width 64, one row of 8 tokens, LoRA r 4 on all linears (PEFT for the peer), forward, backward, clipping, AdamW, one thread.
Prints microseconds a layer and step (the median step over 32), then one JSON object a line.
"""

import argparse
import os
import statistics
import sys
import tempfile

from common import machine, print_lines, print_table, run_ltune, run_python, steps_of

LAYERS = 32

SCRIPT = """
model m {{ init = random {{ width = 64; ffn = 128; layers = {layers}; heads = 2; kv_heads = 1; vocabulary = 512 }}; device = cpu }}
data d {{ from = random; rows = {steps}; length = 8 tokens; split = none }}
tune a {{ model = m; data = d; method = lora {{ rank = 4 }}; batch = 1 x 1; epochs = 1; snapshots = 0B }}
step a {steps}
"""

PEER = r"""
import json, sys, time, torch
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM
layers, steps = int(sys.argv[1]), int(sys.argv[2])
torch.set_num_threads(1)
model = LlamaForCausalLM(LlamaConfig(hidden_size=64, intermediate_size=128, num_hidden_layers=layers, num_attention_heads=2,
                                     num_key_value_heads=1, vocab_size=512))
linears = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
model = get_peft_model(model, LoraConfig(r=4, lora_alpha=8, target_modules=linears, task_type="CAUSAL_LM"))
model.train()
trained = [p for p in model.parameters() if p.requires_grad]
optimizer = torch.optim.AdamW(trained, lr=1e-3)
for step in range(steps):
    began = time.perf_counter()
    ids = torch.randint(0, 512, (1, 8))
    model(input_ids=ids, labels=ids).loss.backward()
    torch.nn.utils.clip_grad_norm_(trained, 1.0)
    optimizer.step()
    optimizer.zero_grad()
    print(json.dumps({"seconds": time.perf_counter() - began}))
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--peer", default=sys.executable)
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory() as folder:
        events, _, _ = run_ltune(SCRIPT.format(layers=LAYERS, steps=options.steps), folder)
    lines, _ = run_python(options.peer, PEER, LAYERS, options.steps)
    rows = []
    for name, steps in [("ltune", steps_of(events)), ("transformers + PEFT", lines)]:
        settled = statistics.median(step["seconds"] for step in steps[len(steps) // 4:])
        rows.append({"name": name, "microseconds_a_layer": settled / LAYERS * 1e6})
    for row in rows:
        row["ratio"] = rows[0]["microseconds_a_layer"] / row["microseconds_a_layer"]
    print(f"machine: {machine()}, one thread")
    print_table(["", "µs a layer", "ltune is"],
                [[row["name"], f"{row['microseconds_a_layer']:.0f}", f"{row['ratio']:.2f} x"] for row in rows])
    print_lines(rows)


if __name__ == "__main__":
    main()
