//! Fuzzing by one command: every decoder in turn, from the committed corpora on.
//!
//! libFuzzer needs nightly and `cargo install cargo-fuzz`; its engine is a workspace of its own (`fuzz/engine`), so that
//! nothing else here needs either. What a run finds lies in `fuzz/engine/artifacts`; fixed, it goes into `fuzz/corpus`.

use anyhow::Context as _;

use crate::run::{Step, root};

const SECONDS: &str = "400";

/// `fuzz [seconds per target] [target]`.
pub(crate) fn fuzz(arguments: &[&str]) -> anyhow::Result<()> {
    let seconds = arguments.first().copied().unwrap_or(SECONDS);
    seconds.parse::<u32>().with_context(|| format!("{seconds}: how many seconds per target?"))?;
    let (engine, grown) = (root().join("fuzz/engine"), root().join("fuzz/engine/corpus"));
    let (engine, grown) = (engine.to_string_lossy(), grown.to_string_lossy());
    Step::cargo(&["run", "--locked", "--package", "fuzz", "--", "seeds", &grown]).run("seeds")?;
    for target in targets()? {
        if arguments.get(1).is_some_and(|wanted| *wanted != target) {
            continue;
        }
        let (corpus, kept) = (format!("{grown}/{target}"), format!("fuzz/corpus/{target}"));
        std::fs::create_dir_all(root().join(&kept))?;
        let time = format!("-max_total_time={seconds}");
        Step::program("cargo")
            .with(&[
                "+nightly",
                "fuzz",
                "run",
                "--fuzz-dir",
                &engine,
                "-s",
                "none",
                &target,
                &corpus,
                &kept,
                "--",
            ])
            .with(&[&time, "-max_len=65536", "-rss_limit_mb=2048", "-print_final_stats=1"])
            .run(&target)?;
    }
    Ok(())
}

fn targets() -> anyhow::Result<Vec<String>> {
    let mut names = Vec::new();
    for file in std::fs::read_dir(root().join("fuzz/engine/targets")).context("fuzz/engine/targets")? {
        let name = file?.file_name().to_string_lossy().into_owned();
        names.extend(name.strip_suffix(".rs").map(str::to_owned));
    }
    names.sort_unstable();
    Ok(names)
}
