//! Every input that was ever worth keeping, fed to its decoder on stable; and that the seeds are what they should be.

use std::path::{Path, PathBuf};

use fuzz::{TARGETS, Target, seeds};

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

// One test, since memory is counted for the whole process.
#[test]
fn corpora_and_seeds_are_borne() {
    for target in TARGETS {
        let mut fed = 0;
        for (_, bytes) in seeds::seeds(target.name) {
            target.feed(&bytes);
            fed += 1;
        }
        let folder = corpus().join(target.name);
        for file in std::fs::read_dir(&folder).into_iter().flatten() {
            target.feed(&std::fs::read(file.unwrap().path()).unwrap());
            fed += 1;
        }
        assert!(fed > 0, "{} has nothing to begin with", target.name);
    }
    let folders = std::fs::read_dir(corpus()).into_iter().flatten();
    let stray: Vec<String> = folders
        .map(|folder| folder.unwrap().file_name().to_string_lossy().into_owned())
        .filter(|name| Target::named(name).is_none())
        .collect();
    assert!(stray.is_empty(), "corpora without a target: {stray:?}");
}
