//! The strangers that the end-to-end tests bring in: two Python Kafka clients and kcat.
//!
//! The Python ones go into an environment of their own under `target/`, in the versions that `tests/requirements.txt`
//! names, and are installed again only when that file changes. kcat is a system package: it is installed where we are
//! root and apt-get exists, else the one command to type is named.

use std::path::PathBuf;

use anyhow::Context as _;

use crate::run::{Step, root, target};

/// Makes the environment if need be; answers with its Python.
pub(crate) fn prepare() -> anyhow::Result<PathBuf> {
    kcat()?;
    strace();
    let wanted = std::fs::read_to_string(root().join("tests/requirements.txt"))
        .context("cannot read tests/requirements.txt")?;
    let folder = target().join("venv");
    let (python, stamp) = (folder.join("bin/python"), folder.join("installed.txt"));
    if std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(python);
    }
    let make = Step::program("python3").with(&["-m", "venv"]).with(&[&folder.to_string_lossy()]);
    make.run("a Python environment for the tests").context(
        "Python 3.9 or newer with its venv module is needed (Debian: apt-get install python3-venv)",
    )?;
    let install =
        ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", "tests/requirements.txt"];
    Step::program(&python).with(&install).run("Kafka clients for Python")?;
    std::fs::write(&stamp, wanted).with_context(|| format!("cannot write {}", stamp.display()))?;
    Ok(python)
}

/// Where it cannot be had, chaos says what it leaves out.
fn strace() {
    let there = Step::program("strace").with(&["-V"]).succeeds();
    if !there && is_root() {
        let install = ["install", "--yes", "--no-install-recommends", "strace"];
        let _ = Step::program("apt-get").with(&install).run("strace");
    }
}

fn is_root() -> bool {
    Step::program("sh").with(&["-c", "test $(id -u) = 0"]).succeeds()
}

fn kcat() -> anyhow::Result<()> {
    let there = || Step::program("kcat").with(&["-V"]).succeeds();
    if there() {
        return Ok(());
    }
    let advice = "kcat is needed: install it with `sudo apt-get install kcat` or `brew install kcat`";
    anyhow::ensure!(is_root() && Step::program("apt-get").with(&["--version"]).succeeds(), advice);
    let install = || Step::program("apt-get").with(&["install", "--yes", "--no-install-recommends", "kcat"]);
    if install().run("kcat").is_err() {
        // A fresh machine has no package lists yet.
        Step::program("apt-get").with(&["update"]).run("package lists").context(advice)?;
        install().run("kcat").context(advice)?;
    }
    anyhow::ensure!(there(), advice);
    Ok(())
}
