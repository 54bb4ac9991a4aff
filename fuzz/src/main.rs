//! `fuzz seeds FOLDER` lays out what the fuzzers begin with, one folder per target; `fuzz list` names the targets.

use std::path::Path;
use std::process::ExitCode;

use fuzz::{TARGETS, seeds};

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["list"] => {
            TARGETS.iter().for_each(|target| println!("{}", target.name));
            ExitCode::SUCCESS
        }
        ["seeds", folder] => match lay_out(Path::new(folder)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{folder}: {error}");
                ExitCode::FAILURE
            }
        },
        _ => {
            eprintln!("fuzz list | fuzz seeds FOLDER");
            ExitCode::FAILURE
        }
    }
}

fn lay_out(folder: &Path) -> std::io::Result<()> {
    for target in TARGETS {
        std::fs::create_dir_all(folder.join(target.name))?;
        for (name, bytes) in seeds::seeds(target.name) {
            std::fs::write(folder.join(target.name).join(name), bytes)?;
        }
    }
    Ok(())
}
