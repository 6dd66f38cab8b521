#!/usr/bin/env python3
"""Instruction data end to end: rows of many lengths, loss on the answers alone, from the start of the program to its end.

    python3 tests/bench/ragged.py [--rows 192] [--batch 8] [--max-len 256] [--peer PYTHON]

SmolLM2-135M, LoRA r 8 on all linears, one epoch over the first rows of the sample `verses` (translations, 65 to 185
tokens). ltune packs rows of `max_len` tokens, batch / 2 of them a step. The peer is transformers + PEFT in a plain loop, as
their examples write it: each batch padded to its longest row, and again to `max_len`, labels of prompts and padding masked. Both
sides start from nothing: importing, loading, tokenizing, training. The first step's times count from the start of the
process. Prints a table, then one JSON object a line.
"""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

from common import fetch_samples, machine, print_lines, print_table, run_ltune, run_python, save_weights, steps_of

SCRIPT = """
model base {{ from = "smollm2-135m"; dtype = f32; device = cpu }}
data d {{ from = "verses"; limit = {rows} rows; max_len = {max_len} tokens; split = none; packing = on; template = none }}
tune a {{
  model = base; data = d; method = lora {{ rank = 8; alpha = 16 }}; optimizer = adamw {{ weight_decay = 0 }}; lr = 1e-3
  schedule = constant; batch = {packed} x 1; epochs = 1; snapshots = 0B
}}
{verb}
"""

PEER = r"""
import time
began = time.time()
import json, os, sys
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer
folder, data, rows, batch, max_len, padding = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:6]), sys.argv[6]
tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
linears = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
model = get_peft_model(model, LoraConfig(r=8, lora_alpha=16, target_modules=linears, task_type="CAUSAL_LM"))
model.train()
examples = []
for line in list(open(data))[:rows]:
    row = json.loads(line)
    prompt = tokenizer(row["prompt"])["input_ids"]
    answer = tokenizer(row["completion"])["input_ids"] + [tokenizer.eos_token_id or 0]
    examples.append(((prompt + answer)[:max_len], ([-100] * len(prompt) + answer)[:max_len]))
order = torch.randperm(len(examples), generator=torch.Generator().manual_seed(42)).tolist()
trained = [p for p in model.parameters() if p.requires_grad]
optimizer = torch.optim.AdamW(trained, lr=1e-3, weight_decay=0.0)
first = begins = 0
for start in range(0, len(order), batch):
    part = [examples[i] for i in order[start:start + batch]]
    length = max_len if padding == "max" else max(len(ids) for ids, _ in part)
    pad = lambda values, fill: torch.tensor([v + [fill] * (length - len(v)) for v in values])
    ids, labels = pad([ids for ids, _ in part], 0), pad([labels for _, labels in part], -100)
    mask = pad([[1] * len(ids) for ids, _ in part], 0)
    begins = begins or time.time() - began
    loss = model(input_ids=ids, attention_mask=mask, labels=labels).loss
    loss.backward()
    torch.nn.utils.clip_grad_norm_(trained, 1.0)
    optimizer.step()
    optimizer.zero_grad()
    first = first or time.time() - began
print(json.dumps({"begins": begins, "first": first, "loss": loss.item()}))
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=192)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--max-len", type=int, default=256)
    parser.add_argument("--peer", default=sys.executable)
    options = parser.parse_args()
    settings = {"rows": options.rows, "max_len": options.max_len, "packed": options.batch // 2}
    cache = Path(os.environ.get("LTUNE_CACHE") or Path.home() / ".cache/ltune")
    fetch_samples("smollm2-135m", "verses")
    with tempfile.TemporaryDirectory() as folder:
        weights = save_weights(folder)  # both files are in the system's memory now
        events, _, first = run_ltune(SCRIPT.format(verb="step a 1", **settings), folder)
        begins = first - steps_of(events)[0]["seconds"]
        events, _, seconds = run_ltune(SCRIPT.format(verb="run a", **settings), folder)
        rows = [{"name": "ltune, packed", "begins": begins, "first": first, "seconds": seconds, "loss": steps_of(events)[-1]["loss"]}]
        for name, padding in [("transformers + PEFT, padded to the longest", "longest"),
                              ("transformers + PEFT, padded to max_len", "max")]:
            arguments = (weights, cache / "samples/verses/verses.jsonl", options.rows, options.batch, options.max_len)
            lines, seconds = run_python(options.peer, PEER, *arguments, padding)
            rows.append({"name": name, "seconds": seconds, **lines[-1]})
    print(f"machine: {machine()}; {options.rows} rows, batches of {options.batch}, max_len {options.max_len}")
    for row in rows:
        row |= {"times": row["seconds"] / rows[0]["seconds"], "begins_ratio": rows[0]["begins"] / row["begins"]}
    print_table(["", "end to end", "against ltune", "first step begins", "ltune is", "ends"],
                [[row["name"], f"{row['seconds']:.1f} s", f"{row['times']:.2f} x", f"{row['begins']:.2f} s",
                  f"{row['begins_ratio']:.2f} x", f"{row['first']:.2f} s"] for row in rows])
    print_lines(rows)


if __name__ == "__main__":
    main()
