"""Cells of Rust in evcxr's kernel, as the notebook sends them; then the notebook of the repository, in a second session.

    python3 rust_cells.py REPOSITORY [--write] [--only-notebook]

It works in the folder it is called in. With --write the notebook's outputs are put into its file.
"""

import os
import shutil
import sys
import time
from datetime import datetime
from pathlib import Path

import nbformat
from nbclient import NotebookClient

repository = Path(sys.argv[1]).resolve()
KERNEL = "rust-ltune"

SETUP = """model base { init = random { preset = tiny } }
data rows { from = random; rows = 40; length = 16 tokens; split = 80% / 20% }
tune a { model = base; data = rows; batch = 4 x 1; method = lora { rank = 4 } }"""

# What a cell holds, and what it must have shown: of which kind, and which words.
CELLS = [
    (f':dep ltune = {{ path = "{repository}", default-features = false }}', {}),
    (
        f'let mut s = ltune::Session::new()?;\ns.run(r#"{SETUP}\nstep a 3"#)?;\ns.run("show a")?',
        {"stdout": "step 3/8", "text/html": "<table>", "text/plain": "schedule"},
    ),
    (
        "use ltune::tch;\n"
        'let losses: Vec<f64> = s.metrics("a")?.loss;\n'
        'let w: tch::Tensor = s.weight("a", "model.layers.0.self_attn.q_proj.weight")?;\n'
        "(losses.len(), w.size())",
        {"text/plain": "(3, [64, 64])"},
    ),
    ('s.run("stepp a 3")?', {"stderr": "error[L0101]: `stepp` is not a statement"}),
    ('s.run("step a 2")?; panic!("a cell of the user")', {"stderr": "a cell of the user"}),
    ('s.metrics("a")?.step', {"text/plain": "[1, 2, 3, 4, 5]"}),
    ('s.plot("loss of a")?', {"image/svg+xml": "<svg", "text/plain": "loss of a"}),
    (
        'let steps = s.step("a", 3, |step| { println!("seen {}", step.step); std::ops::ControlFlow::Continue(()) })?;\n'
        "steps.len()",
        {"stdout": "seen 8", "text/plain": "3"},
    ),
    ("s", {"text/plain": "a: a run at step 8"}),
]


def shown(cell):
    """What a cell has shown, by its kind."""
    found = {}
    for output in cell.outputs:
        if output.output_type == "stream":
            found[output.name] = found.get(output.name, "") + output.text
        elif output.output_type == "error":
            found["error"] = "\n".join([output.evalue, *output.traceback])
        else:
            for kind, content in output.data.items():
                found[kind] = content
    return found


def run(notebook):
    """How long all cells took, and the first of code, which names what they stand on."""
    began = time.monotonic()
    here = {"metadata": {"path": os.getcwd()}}
    NotebookClient(notebook, timeout=3600, kernel_name=KERNEL, allow_errors=True, resources=here).execute()
    first = next(cell for cell in notebook.cells if cell.cell_type == "code").metadata.execution
    begin, end = (datetime.fromisoformat(first[name]) for name in ("iopub.execute_input", "shell.execute_reply"))
    return f"{time.monotonic() - began:.0f} s, {(end - begin).total_seconds():.0f} of them for `:dep`"


def check_cells():
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code) for code, _ in CELLS])
    seconds = run(notebook)
    failed = 0
    for cell, (code, wanted) in zip(notebook.cells, CELLS):
        found = shown(cell)
        missing = [kind for kind, words in wanted.items() if words not in found.get(kind, "")]
        unexpected = [kind for kind in ("stderr", "error") if kind in found and kind not in wanted]
        if missing or unexpected:
            failed += 1
            print(f"FAILED: {code}\n  lacks {missing}, has too much {unexpected}; shown was {found}")
    print(f"{len(CELLS) - failed} of {len(CELLS)} cells as they should be, {seconds}")
    return failed


def check_notebook():
    path = repository / "scripts/notebooks/rust-cells.ipynb"
    notebook = nbformat.read(path, as_version=4)
    # It runs in a folder of its own, so that its runs are not left beside it.
    os.makedirs("notebook")
    os.chdir("notebook")
    shutil.copy(path.parent / "sums.jsonl", ".")
    first = next(cell for cell in notebook.cells if cell.cell_type == "code")
    source = first.source
    first.source = source.replace("../..", str(repository))
    seconds = run(notebook)
    first.source = source
    failed = [cell for cell in notebook.cells if cell.cell_type == "code" and {"stderr", "error"} & shown(cell).keys()]
    print(f"{path.name}: {seconds}; a second session; {len(failed)} cells failed")
    for cell in failed:
        print(f"FAILED: {cell.source}\n  {shown(cell)}")
    if "--write" in sys.argv and not failed:
        for cell in notebook.cells:
            cell.metadata.pop("execution", None)
        nbformat.write(notebook, path)
    return len(failed)


if __name__ == "__main__":
    failures = 0 if "--only-notebook" in sys.argv else check_cells()
    failures += check_notebook()
    sys.exit(1 if failures else 0)
