"""Executes the notebooks of scripts/notebooks and compares what they print, show and draw with what is committed.

    .tools/jupyter/bin/python tests/peers/notebooks.py              compares; differences end it with 1
    .tools/jupyter/bin/python tests/peers/notebooks.py --write      writes what came out into the notebooks
    … NAME.ipynb                                                    these only

Times and free memory differ from run to run and are passed over. All other numbers are compared to the last digit,
unless the notebook was written on another kind of processor, which may round differently: then only what every
processor gives alike is, that is the kinds of outputs and the loss of the first step.
"""

import json
import os
import pathlib
import re
import shutil
import sys
import tempfile

import nbformat
from nbclient import NotebookClient

FOLDER = pathlib.Path(__file__).parents[2] / "scripts/notebooks"
VOLATILE = re.compile(r"\d[\d ]*(\.\d+)? ?(ns|µs|ms|s|min|h|bytes|kB|MB|GB|GFLOP)\b|\(\d[\d\s]* a second\)")
FIRST_STEP = re.compile(r"step +1/\d+ +loss (\d+\.\d\d)")


def processor():
    """The kind of processor, which decides how sums are rounded."""
    lines = (line.split(":", 1) for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines() if ":" in line)
    found = {}
    for name, value in lines:
        found.setdefault(name.strip(), value.strip())
    return " ".join(found.get(name, "?") for name in ("vendor_id", "cpu family", "model"))


def executed(notebook):
    """The notebook with new outputs, run in a folder that holds its data and nothing else."""
    fresh = nbformat.from_dict(notebook)
    with tempfile.TemporaryDirectory() as folder:
        for data in FOLDER.glob("*.jsonl"):
            shutil.copy(data, folder)
        environment = {"OMP_NUM_THREADS": "1", "LTUNE_CACHE": f"{folder}/.cache"}
        client = NotebookClient(
            fresh,
            kernel_name="ltune",
            timeout=300,
            record_timing=False,
            resources={"metadata": {"path": folder}},
        )
        client.execute(env={**os.environ, **environment})
    for cell in fresh.cells:
        if cell.cell_type == "code":
            cell.outputs = joined(cell.outputs)
    return fresh


def joined(outputs):
    """The outputs as a front end shows them: a stream goes on until something else comes; what is empty is not seen."""
    found = []
    for output in outputs:
        last = found[-1] if found else {}
        if output.output_type == "stream" and last.get("name") == output.name:
            last.text += output.text
        elif output.get("data", {}).get("text/plain") != "":
            found.append(output)
    return found


def settled(text):
    """The text without what differs from run to run, and without the room that it took up in a table."""
    text = text if isinstance(text, str) else json.dumps(text, ensure_ascii=False, sort_keys=True)
    return re.sub(r"[ ─]+", " ", VOLATILE.sub("…", text))


def outputs(notebook):
    """Each output of each cell, as its number, its kind and its forms."""
    for number, cell in enumerate(notebook.cells, 1):
        for output in cell.get("outputs", []):
            if output.output_type == "stream":
                forms = {output.name: output.text}
            elif output.output_type == "error":
                forms = {"error": "\n".join(output.traceback)}
            else:
                forms = dict(output.data)
            yield number, output.output_type, {form: settled(text) for form, text in forms.items()}


def alike(output):
    """What of an output every processor gives."""
    number, kind, forms = output
    return number, kind, sorted(forms), [FIRST_STEP.findall(text) for text in forms.values()]


def differences(committed, fresh):
    """What came out otherwise than it is committed, a line each."""
    same_processor = committed.metadata.get("ltune", {}).get("processor") == processor()
    seen = (lambda output: output) if same_processor else alike
    before, after = list(map(seen, outputs(committed))), list(map(seen, outputs(fresh)))
    if len(before) != len(after):
        yield f"{len(before)} outputs are committed, {len(after)} came out"
    for old, new in zip(before, after):
        if old != new:
            yield f"cell {old[0]}: committed is\n{old}\nand now it is\n{new}"


def numbers(notebook):
    return sum(len(re.findall(r"\d+\.\d+", text)) for *_, forms in outputs(notebook) for text in forms.values())


def tidy(notebook):
    """Without what changes each time it is run: identifiers are the places of the cells."""
    notebook.metadata = nbformat.from_dict(
        {
            "kernelspec": {"display_name": "ltune", "language": "ltune", "name": "ltune"},
            "language_info": notebook.metadata["language_info"],
            "ltune": {"processor": processor()},
        }
    )
    for number, cell in enumerate(notebook.cells, 1):
        cell.id = f"cell-{number}"
        cell.metadata = {"tags": cell.metadata["tags"]} if cell.metadata.get("tags") else {}
    return notebook


def main():
    write = "--write" in sys.argv
    names = [name for name in sys.argv[1:] if name != "--write"]
    failed = False
    for path in [FOLDER / name for name in names] or sorted(FOLDER.glob("*.ipynb")):
        committed = nbformat.read(path, as_version=4)
        if committed.metadata["kernelspec"]["name"] != "ltune":
            continue  # rust_cells.py runs those of Rust
        fresh = executed(committed)
        found = list(differences(committed, fresh))
        if write and found:
            nbformat.write(tidy(fresh), path)
        cells = sum(cell.cell_type == "code" for cell in fresh.cells)
        same = committed.metadata.get("ltune", {}).get("processor") == processor()
        how = "compared" if same else "came out; written on another processor, so only the first losses are compared"
        print(f"{path.name}: {cells} cells, {numbers(fresh)} numbers {how}, {len(found)} differences", flush=True)
        print("\n".join(found))
        failed |= bool(found) and not write
    sys.exit(failed)


if __name__ == "__main__":
    main()
