#!/usr/bin/env python3
"""Adapters go from ltune to PEFT and back, and merged folders to transformers, without a change in what they compute.

    python3 tests/peers/adapter.py target/release/ltune

Needs torch 2.11.0, transformers 5.23.0 and peft 0.21.2. Prints a line a check; exit code 1 when one fails.

Logits are compared through the losses of single tokens. ltune measures a data set whose one row has one target: at
each position a token drawn from the whole vocabulary, so that the loss is one logit less all the others' log-sum-exp.
The loss of a text, which ltune tokenizes itself, stands beside them.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}

import peft
import torch
import transformers

TOLERANCE = 2e-3
MOVED = 0.1  # an adapter that moves no token's loss by this much would be no test
POSITIONS = 32
FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"
LTUNE = Path(sys.argv[1]).resolve()

NOUNS = """
model base { from = "tiny"; dtype = f32; device = cpu }
data t { from = "text.txt"; format = text; max_len = 2000 tokens; eos = off; split = none; shuffle = off }
"""

TRAINED = """
data noise { from = random; rows = 12; length = 32 tokens; max_len = 32 tokens; split = none }
tune a {
  model = base; data = noise
  method = lora { rank = 4; alpha = 32 }
  lr = 3e-2; schedule = constant; batch = 4 x 1 # far too high a rate, to move the weights in three steps
}
step a 3
save a to "adapter"
save a to "merged" { as = merged }
"""

STARTED = """
tune a {{ model = base; data = t; method = lora {{ from = "{folder}" }} }}
"""

SOME = ["q_proj", "v_proj", "down_proj"]
FROM_PEFT = {
    "every linear": dict(r=4, lora_alpha=8, target_modules="all-linear"),
    "some linears, rank-stabilized": dict(r=3, lora_alpha=5, target_modules=SOME, use_rslora=True),
    "one layer": dict(r=2, lora_alpha=2, target_modules=["k_proj", "up_proj"], layers_to_transform=[1]),
}


def main():
    print(f"torch {torch.__version__}, transformers {transformers.__version__}, peft {peft.__version__}")
    torch.set_num_threads(1)
    torch.manual_seed(1)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        os.symlink(FIXTURES / "tiny", "tiny")
        Path("text.txt").write_text(json.loads((FIXTURES / "tiny.json").read_text())["tiny"]["text"])
        targets = torch.randint(512, (POSITIONS,)).tolist()
        write_tokens(tokens("tiny"), targets)

        unchanged = theirs(pretrained("tiny"), tokens("tiny"), targets)
        trained = ours(TRAINED)
        in_peft = theirs(with_adapter("adapter"), tokens("tiny"), targets)
        in_transformers = theirs(pretrained("merged"), tokens("merged"), targets)
        passed = [
            same("base model in transformers", ours("", "base"), unchanged),
            same("ltune's adapter in PEFT", trained, in_peft, unchanged),
            same("ltune's merged folder in transformers", trained, in_transformers, unchanged),
        ]
        for number, (name, shape) in enumerate(FROM_PEFT.items()):
            save_random_adapter(f"peft{number}", shape)
            wanted = theirs(with_adapter(f"peft{number}"), tokens("tiny"), targets)
            found = ours(STARTED.format(folder=f"peft{number}"))
            passed.append(same(f"PEFT's adapter in ltune: {name}", found, wanted, unchanged))
    return 0 if all(passed) else 1


def tokens(folder):
    """The text, tokenized by what stands in a folder."""
    return transformers.AutoTokenizer.from_pretrained(folder)(Path("text.txt").read_text())["input_ids"]


def write_tokens(ids, targets):
    """One data set a position: the text up to there, and one target after it."""
    for position, target in enumerate(targets):
        row = {"input_ids": ids[: position + 1] + [target], "labels": [-100] * (position + 1) + [target]}
        Path(f"token{position}.jsonl").write_text(json.dumps(row) + "\n")


def ours(statements, name="a"):
    """What ltune measures after `statements`: the loss of the text, then of each single token."""
    script = [NOUNS, statements, f"eval {name} on t"]
    for position in range(POSITIONS):
        script.append(f'data token{position} {{ from = "token{position}.jsonl"; eos = off; split = none }}')
        script.append(f"eval {name} on token{position}")
    done = subprocess.run([LTUNE, "--json", "-"], input="\n".join(script), capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(done.stdout[-2000:] + done.stderr)
    events = [json.loads(line) for line in done.stdout.splitlines()]
    evals = [event for event in events if event["type"] == "eval"]
    assert [event["tokens"] for event in evals[1:]] == [1] * POSITIONS, evals
    return torch.tensor([event["loss"] for event in evals])


def theirs(model, ids, targets):
    """The same numbers from transformers."""
    ids_t = torch.tensor(ids)
    with torch.no_grad():
        losses_tv = -model.eval()(ids_t[None]).logits[0].log_softmax(-1)
    text = losses_tv[:-1].gather(1, ids_t[1:, None]).mean()
    return torch.stack([text] + [losses_tv[position, target] for position, target in enumerate(targets)])


def pretrained(folder):
    return transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)


def with_adapter(folder):
    return peft.PeftModel.from_pretrained(pretrained("tiny"), folder)


def save_random_adapter(folder, shape):
    model = peft.get_peft_model(pretrained("tiny"), peft.LoraConfig(task_type="CAUSAL_LM", **shape))
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            parameter.data.normal_(0, 0.3)
    model.save_pretrained(folder)


def same(what, ours, theirs, unchanged=None):
    difference = (ours - theirs).abs().max().item()
    good = difference <= TOLERANCE
    line = f"{what}: losses differ by at most {difference:.1e}"
    if unchanged is not None:
        moved = (theirs - unchanged).abs().max().item()
        good = good and moved >= MOVED
        line += f" (the adapter moves them by up to {moved:.2f})"
    print(line if good else f"{line}: FAILED, at most {TOLERANCE} may differ and {MOVED} must move")
    return good


if __name__ == "__main__":
    sys.exit(main())
