//! What transformers and PEFT make of ltune's folders, and ltune of theirs. Runs where they are installed, under
//! `scripts/test --all`; the Python that has them is `LTUNE_PEERS_PYTHON`, or else `python3`.

use crate::program::Ran;
use std::path::Path;
use std::process::Command;

fn python(arguments: &[&str]) -> Option<Ran> {
    let program = std::env::var("LTUNE_PEERS_PYTHON").unwrap_or_else(|_| "python3".to_string());
    let output = Command::new(program).args(arguments).env("OMP_NUM_THREADS", "1").output();
    output.ok().map(Ran::from)
}

#[test]
#[ignore = "needs transformers and peft"]
fn adapters_and_merged_folders_compute_the_same_in_peft_and_transformers() {
    if python(&["-c", "import torch, transformers, peft"]).is_none_or(|ran| ran.code != 0) {
        println!(
            "skipped: no transformers and peft. `pip install torch==2.11.0 transformers==5.23.0 peft==0.21.2` in a \
             virtual environment, and set LTUNE_PEERS_PYTHON to its python"
        );
        return;
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/adapter.py");
    let ran = python(&[&script.display().to_string(), env!("CARGO_BIN_EXE_ltune")]).expect("it has just run");
    println!("{}", ran.stdout);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
}
