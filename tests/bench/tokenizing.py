#!/usr/bin/env python3
"""From a file of rows to examples with labels: ltune against transformers' fast tokenizer.

    python3 tests/bench/tokenizing.py [--rows 20000] [--peer PYTHON]

The sample `verses` (prompt and completion, 9.6 MB in 31 102 rows). ltune reads, checks, drops duplicates, tokenizes, masks
and keeps the tokens in its cache, which is empty at first; the second start finds them there. The peer reads JSON, calls the
tokenizer row by row, as examples for training do, and again in batches of 1000; both sides use all cores. Prints seconds and
megabytes a second, then one JSON object a line.
"""

import argparse
import os
import re
import sys
import tempfile
from pathlib import Path

from common import machine, print_lines, print_table, run_ltune, run_python, save_weights

SCRIPT = """
model base {{ from = "{weights}"; device = cpu }}
data d {{ from = "{data}"; limit = {rows} rows; max_len = 1024 tokens; split = none; template = none }}
show lengths d for base
"""

PEER = r"""
import json, os, sys, time
os.environ["TOKENIZERS_PARALLELISM"] = "true"
from transformers import AutoTokenizer
folder, data, rows, how = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
tokenizer = AutoTokenizer.from_pretrained(folder)
began = time.perf_counter()
read = [json.loads(line) for line in list(open(data))[:rows]]
tokens = 0
if how == "row":
    for row in read:
        prompt, answer = tokenizer(row["prompt"])["input_ids"], tokenizer(row["completion"])["input_ids"]
        labels = [-100] * len(prompt) + answer
        tokens += len(labels)
else:
    for start in range(0, len(read), 1000):
        part = read[start:start + 1000]
        prompts = tokenizer([row["prompt"] for row in part])["input_ids"]
        answers = tokenizer([row["completion"] for row in part])["input_ids"]
        for prompt, answer in zip(prompts, answers):
            tokens += len([-100] * len(prompt) + answer)
print(json.dumps({"seconds": time.perf_counter() - began, "tokens": tokens}))
"""


def ours(weights, data, rows, folder):
    events, _, _ = run_ltune(SCRIPT.format(weights=weights, data=data, rows=rows), folder)
    told = next(event["text"] for event in events if event.get("text", "").startswith("data d: "))
    number, unit = re.search(r"([\d.]+) (µs|ms|s)[;,]", told).groups()
    return float(number) * {"µs": 1e-6, "ms": 1e-3, "s": 1}[unit]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--peer", default=sys.executable)
    options = parser.parse_args()
    cache = Path(os.environ.get("LTUNE_CACHE") or Path.home() / ".cache/ltune")
    data = cache / "samples/verses/verses.jsonl"
    size = sum(len(line) for line in data.read_bytes().splitlines()[: options.rows])
    with tempfile.TemporaryDirectory() as folder:
        weights = save_weights(folder)
        os.environ["LTUNE_CACHE"] = f"{folder}/cache"
        os.environ["OMP_NUM_THREADS"] = str(os.cpu_count())
        rows = [{"name": "ltune", "seconds": ours(weights, data, options.rows, folder)},
                {"name": "ltune, from its cache", "seconds": ours(weights, data, options.rows, folder)}]
        for name, how in [("transformers, row by row", "row"), ("transformers, in batches", "batch")]:
            lines, _ = run_python(options.peer, PEER, weights, data, options.rows, how)
            rows.append({"name": name, **lines[-1]})
    for row in rows:
        row |= {"megabytes_a_second": size / row["seconds"] / 1e6, "ratio": rows[0]["seconds"] / row["seconds"]}
    print(f"machine: {machine()}; {options.rows} rows, {size / 1e6:.1f} MB")
    print_table(["", "seconds", "MB/s", "ltune is"],
                [[row["name"], f"{row['seconds']:.3f}", f"{row['megabytes_a_second']:.1f}", f"{row['ratio']:.2f} x"]
                 for row in rows])
    print_lines(rows)


if __name__ == "__main__":
    main()
