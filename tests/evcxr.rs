//! Rust cells in the real evcxr: its kernel is installed into `.tools`, set up by `ltune kernel install --rust`, and given
//! cells as a notebook gives them. The first builds take minutes; what they made is kept between runs of the tests.

use crate::kernel::suites::python;
use crate::program::{Folder, Ran};
use std::path::{Path, PathBuf};
use std::process::Command;

const EVCXR: &str = "evcxr_jupyter@0.22.0";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A program that leaves the processor to the tests beside it.
fn patient(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new("nice");
    command.args(["-n", "15"]).arg(program);
    command
}

fn succeeds(command: &mut Command) -> bool {
    command.status().is_ok_and(|status| status.success())
}

/// Where evcxr's kernel is or has just been put.
fn evcxr() -> Option<PathBuf> {
    let tools = root().join(".tools/evcxr");
    let program = tools.join("bin/evcxr_jupyter");
    if !program.exists() {
        let build = tools.join("build");
        let mut install = patient("cargo");
        install.args(["install", "--locked", "--quiet", EVCXR, "--root"]).arg(&tools);
        succeeds(install.env("CARGO_TARGET_DIR", &build).env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1"));
        let _ = std::fs::remove_dir_all(build); // gigabytes that nobody needs again
    }
    program.exists().then(|| tools.join("bin"))
}

/// With evcxr's kernel on the path, and what cells stand on kept between runs.
fn with_tools(mut command: Command, tools: &Path) -> Command {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(tools.to_path_buf()).chain(std::env::split_paths(&path));
    command.env("PATH", std::env::join_paths(folders).expect("folders make a path"));
    command.env("LTUNE_CACHE", root().join(".tools/rust-cells"));
    command
}

#[test]
#[ignore = "installs evcxr's kernel and builds ltune once more for its cells: about fifteen minutes"]
fn rust_cells_run_in_evcxr() {
    if std::env::var_os("LTUNE_TEST_EVCXR").is_none() {
        println!("skipped: it takes half an hour and more the first time; set LTUNE_TEST_EVCXR=1 to run it");
        return;
    }
    let Some(tools) = evcxr() else {
        println!("skipped: `cargo install --locked {EVCXR}` did not work (no network?)");
        return;
    };
    let Some(python) = python() else { return };
    let folder = Folder::new();
    let prefix = folder.path().join("prefix").display().to_string();
    let install = folder.command(&["kernel", "install", "--rust", "--prefix", &prefix]);
    let installed = Ran::from(with_tools(install, &tools).output().expect("ltune starts"));
    assert_eq!(installed.code, 0, "{}", installed.stderr);
    assert!(installed.stdout.contains(":dep ltune = { path = "), "{}", installed.stdout);
    let mut cells = patient(python);
    cells.arg(root().join("tests/peers/rust_cells.py")).arg(root()).current_dir(folder.path());
    cells.env("JUPYTER_PATH", format!("{prefix}/share/jupyter")).env("OMP_NUM_THREADS", "1");
    let ran = Ran::from(with_tools(cells, &tools).output().expect("python starts"));
    println!("{}", ran.stdout);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
}

#[test]
fn a_missing_evcxr_is_said_with_what_installs_it() {
    let folder = Folder::new();
    let mut install = folder.command(&["kernel", "install", "--rust", "--prefix", "here"]);
    install.env("PATH", folder.path()).env("CARGO_HOME", folder.path());
    let ran = Ran::from(install.output().expect("ltune starts"));
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("error[L0603]: `evcxr_jupyter`"), "{}", ran.stderr);
    assert!(ran.stderr.contains("cargo install --locked evcxr_jupyter"), "{}", ran.stderr);
}

#[test]
fn the_rust_kernel_carries_where_libtorch_lies_and_a_lasting_folder() {
    let folder = Folder::new();
    let evcxr = folder.write("bin/evcxr_jupyter", "");
    let mut install = folder.command(&["kernel", "install", "--rust", "--prefix", "here"]);
    install.env("PATH", evcxr.parent().expect("it stands in a folder")).env_remove("LD_LIBRARY_PATH");
    let ran = Ran::from(install.output().expect("ltune starts"));
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stdout.contains("one Rust notebook at a time"), "{}", ran.stdout);
    let kernel = folder.path().join("here/share/jupyter/kernels/rust-ltune/kernel.json");
    let text = std::fs::read_to_string(kernel).expect("it was written");
    let kernel: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
    assert_eq!(kernel["argv"][0].as_str(), evcxr.to_str());
    let libtorch = PathBuf::from(kernel["env"]["LIBTORCH"].as_str().expect("it is a path"));
    assert!(libtorch.join("lib/libtorch_cpu.so").exists(), "{}", libtorch.display());
    assert_eq!(kernel["env"]["LD_LIBRARY_PATH"].as_str(), libtorch.join("lib").to_str());
    let cells = PathBuf::from(kernel["env"]["EVCXR_TMPDIR"].as_str().expect("it is a path"));
    let above = cells.parent().expect("it stands in a folder").join(".cargo/config.toml");
    assert!(std::fs::read_to_string(above).expect("it was written").contains("[profile.dev.package"));
}
