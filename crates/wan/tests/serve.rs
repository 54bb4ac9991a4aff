//! The program itself: a topology in, gates named, lines obeyed, an orderly end.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

const TOPOLOGY: &str = r#"
seed = 1
matrix = "rtt.toml"
[[sites]]
name = "eu-west"
listen = "127.0.0.1:9"
[[sites]]
name = "us-east"
listen = "127.0.0.2:9"
[[links]]
from = "us-east"
to = "eu-west"
link = { delay_ms = 12.5 }
"#;

/// A folder of this test's own, with the given topology and a matrix.
fn folder(name: &str, topology: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("wan-serve-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("rtt.toml"), "[rtt_ms.eu-west]\nus-east = 70\n").unwrap();
    std::fs::write(folder.join("topology.toml"), topology).unwrap();
    folder
}

fn serve(name: &str, topology: &str, lines: &str) -> Output {
    let folder = folder(name, topology);
    let mut program = Command::new(env!("CARGO_BIN_EXE_wan"))
        .args(["serve", "--topology"])
        .arg(folder.join("topology.toml"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A program that has refused its topology no longer reads.
    let _refused = program.stdin.take().unwrap().write_all(lines.as_bytes());
    let output = program.wait_with_output().unwrap();
    std::fs::remove_dir_all(folder).unwrap();
    output
}

#[test]
fn serves_a_topology_and_obeys_lines() {
    let output =
        serve("obeys", TOPOLOGY, "cut eu-west\nburn\naddress eu-west us-east\nstats\nquit\ncut us-east\n");
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("eu-west reaches us-east at 127.0.0.1:"), "{text}");
    assert!(lines[1].starts_with("us-east reaches eu-west at 127.0.0.1:"), "{text}");
    assert_eq!(lines[2], "ok");
    assert!(lines[3].starts_with("error: no such command: burn"), "{text}");
    assert!(lines[0].ends_with(lines[4]), "{text}");
    assert!(lines[5].contains("\"cut\":true"), "{text}");
    assert_eq!(lines.len(), 6, "nothing is obeyed after quit");
}

#[test]
fn says_what_is_wrong_with_a_topology() {
    let output = serve("refuses", "sites = []\nspeed = 1\n", "");
    assert!(!output.status.success());
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("is not a topology") && text.contains("speed"), "{text}");
}
