"""What the benchmarks share: the programs they run, what they measure of them, and how they print it."""

import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# Thresholds that ltune sets for itself: memory that was freed is kept.
TUNED = {"MALLOC_MMAP_THRESHOLD_": "4294967296", "MALLOC_TRIM_THRESHOLD_": "4294967296", "MALLOC_TOP_PAD_": "67108864"}

# Runs a program and adds a line with its peak resident memory.
MEASURED = """
import json, resource, subprocess, sys
code = subprocess.run(sys.argv[1:]).returncode
print(json.dumps({"peak": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024}), flush=True)
sys.exit(code)
"""

# The best of some products of 2048 x 2048 matrices, in FLOP a second.
PRODUCTS = """
import json, sys, time, torch
kind = {"f32": torch.float32, "bf16": torch.bfloat16}[sys.argv[1]]
a, b = (torch.randn(2048, 2048).to(kind) for _ in range(2))
best = 1e9
for _ in range(8):
    began = time.perf_counter()
    a @ b
    best = min(best, time.perf_counter() - began)
print(json.dumps({"rate": 2 * 2048**3 / best}))
"""


def ltune_binary():
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    binary = target / "release/ltune"
    if not binary.exists():
        sys.exit(f"{binary} is not there: run scripts/ltune --help once")
    return binary


def machine():
    names = [line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
             if line.startswith("model name")] if Path("/proc/cpuinfo").exists() else []
    return f"{names[0] if names else platform.machine()}, {os.cpu_count()} cores"


def run_ltune(script, folder, *arguments):
    """The events of a script, the peak memory of its process in bytes, and its seconds from start to end."""
    command = [sys.executable, "-c", MEASURED, str(ltune_binary()), *arguments, "--json", "-"]
    began = time.perf_counter()
    done = subprocess.run(command, input=script, capture_output=True, text=True, cwd=folder)
    seconds = time.perf_counter() - began
    if done.returncode != 0:
        sys.exit(done.stdout[-2000:] + done.stderr)
    events = [json.loads(line) for line in done.stdout.splitlines()]
    return events[:-1], events[-1]["peak"], seconds


def fetch_samples(*names):
    """So that no run fetches what it measures."""
    subprocess.run([str(ltune_binary()), "samples", *names], check=True, stdout=subprocess.DEVNULL)


def run_python(python, code, *arguments, tuned=False):
    """The JSON lines that a Python program prints, and its seconds from start to end."""
    environment = dict(os.environ) | (TUNED if tuned else {})
    began = time.perf_counter()
    done = subprocess.run([python, "-c", code, *map(str, arguments)], capture_output=True, text=True, env=environment)
    seconds = time.perf_counter() - began
    if done.returncode != 0:
        sys.exit(done.stderr[-2000:])
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")], seconds


def product_rate(python, kind):
    lines, _ = run_python(python, PRODUCTS, kind)
    return lines[-1]["rate"]


def save_weights(folder):
    """The sample model as a Hugging Face folder, for peers."""
    weights = Path(folder) / "weights"
    script = f'model base {{ from = "smollm2-135m"; dtype = f32; device = cpu }}\nsave base to "{weights}"\n'
    run_ltune(script, folder)
    return weights


def steps_of(events):
    return [event for event in events if event.get("type") == "step"]


def print_table(columns, rows):
    """Rows of texts under their columns: the first to the left, numbers to the right."""
    widths = [max(len(str(row[i])) for row in [columns, *rows]) for i in range(len(columns))]
    for row in [columns, *rows]:
        cells = [str(row[0]).ljust(widths[0])] + [str(cell).rjust(width) for cell, width in zip(row[1:], widths[1:])]
        print("  ".join(cells).rstrip())


def print_lines(rows):
    for row in rows:
        print(json.dumps(row))
