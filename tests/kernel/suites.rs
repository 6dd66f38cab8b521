//! Suites from outside: Jupyter's own tests of a kernel, and the notebooks of this repository run by nbclient. Both need
//! packages, which are put into an environment of their own once.

use crate::program::Ran;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What that environment holds.
const PACKAGES: &[&str] = &["jupyter_kernel_test==0.7.0", "ipykernel", "nbclient>=0.10"];

fn tools(program: &Path, arguments: &[&str]) -> Option<Ran> {
    Command::new(program).args(arguments).env("OMP_NUM_THREADS", "1").output().ok().map(Ran::from)
}

/// The Python of an environment where Jupyter finds this very kernel; none where it cannot be made.
pub fn python() -> Option<PathBuf> {
    let tools_folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools");
    std::fs::create_dir_all(&tools_folder).expect("a folder can be made");
    // Tests run beside each other, each in its own process.
    let one_at_a_time = File::create(tools_folder.join("jupyter.lock")).expect("a file can be made");
    one_at_a_time.lock().expect("it can be locked");
    let environment = tools_folder.join("jupyter");
    let python = environment.join("bin/python");
    let place = environment.display().to_string();
    let worked = |ran: Option<Ran>| ran.is_some_and(|ran| ran.code == 0);
    if !worked(tools(&python, &["-c", "import jupyter_kernel_test, ipykernel, nbclient"])) {
        let made = worked(tools(Path::new("python3"), &["-m", "venv", &place]));
        let install = [&["-m", "pip", "install", "--quiet"], PACKAGES].concat();
        if !made || !worked(tools(&python, &install)) {
            println!("skipped: Jupyter's packages could not be installed (no pip, or no network)");
            return None;
        }
    }
    let ltune = Path::new(env!("CARGO_BIN_EXE_ltune"));
    assert_eq!(tools(ltune, &["kernel", "install", "--prefix", &place]).unwrap().code, 0);
    Some(python)
}

fn script(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers").join(name).display().to_string()
}

#[test]
#[ignore = "fetches jupyter_kernel_test through pip"]
fn the_kernel_passes_jupyter_kernel_test() {
    let Some(python) = python() else { return };
    let ran = tools(&python, &[&script("kernel.py")]).unwrap();
    println!("{}", ran.stderr);
    assert_eq!(ran.code, 0);
    assert!(ran.stderr.contains("Ran 13 tests") && !ran.stderr.contains("skipped="), "{}", ran.stderr);
}

#[test]
#[ignore = "fetches nbclient through pip"]
fn every_notebook_runs_and_gives_the_numbers_that_are_committed() {
    let Some(python) = python() else { return };
    let ran = tools(&python, &[&script("notebooks.py")]).unwrap();
    println!("{}", ran.stdout);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stdout.matches(".ipynb: ").count() >= 3);
}
