//! The binary as its users meet it: what it prints, what it exits with.

use std::path::Path;
use std::process::{Command, Output};

use batch::{Builder, NewRecord};

const EU_WEST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../datacenters/eu-west.toml");

fn meridian(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_meridian"));
    command
        .args(arguments)
        .env_remove("MERIDIAN_CONFIG")
        .env_remove("MERIDIAN_BOOTSTRAP")
        .output()
        .expect("the binary was built for this test")
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).expect("output is text")
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).expect("output is text")
}

fn path(path: &Path) -> &str {
    path.to_str().expect("temporary folders have plain names")
}

#[test]
fn a_configuration_is_checked() {
    let right = meridian(&["serve", "--check", "--config", EU_WEST]);
    assert!(right.status.success(), "{}", stderr(&right));
    assert!(stdout(&right).ends_with("site eu-west, one of 3 members, with 3 homes: right\n"));

    let wrong = meridian(&["serve", "--check", "--config", EU_WEST, "--set", "listen.htp=127.0.0.1:1"]);
    assert_eq!(wrong.status.code(), Some(1));
    let message = "meridian: --set listen.htp: there is no key `listen.htp`; did you mean `http`?\n";
    assert_eq!(stderr(&wrong), message);
}

#[test]
fn a_command_line_that_makes_no_sense_exits_with_2() {
    assert_eq!(meridian(&["serv"]).status.code(), Some(2));
    assert_eq!(meridian(&["consume", "orders", "--from", "yesterday"]).status.code(), Some(2));
}

#[test]
fn certificates_are_made_once_for_all_members() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["cert", "dev", "--out", path(folder.path()), "--config", EU_WEST];
    let made = meridian(&arguments);
    assert!(made.status.success(), "{}", stderr(&made));
    for stem in ["ca", "eu-west", "us-east", "ap-southeast"] {
        for ending in ["pem", "key"] {
            assert!(folder.path().join(format!("{stem}.{ending}")).is_file(), "{stem}.{ending}");
        }
    }
    let again = meridian(&arguments);
    assert_eq!(again.status.code(), Some(1));
    assert!(stderr(&again).contains("ca.key"), "{}", stderr(&again));
}

#[test]
fn nobody_there_is_one_sentence_and_what_to_do() {
    // Port 1 of a loopback address nobody uses.
    let listed = meridian(&["topic", "list", "--bootstrap", "127.0.0.9:1", "--timeout", "0"]);
    assert_eq!(listed.status.code(), Some(1));
    assert!(
        stderr(&listed).starts_with("meridian: no site answers at 127.0.0.9:1; is one running"),
        "{}",
        stderr(&listed)
    );

    let folder = tempfile::tempdir().unwrap();
    let status = meridian(&["site", "status", "--admin", path(folder.path())]);
    assert_eq!(status.status.code(), Some(1));
    assert!(stderr(&status).contains("is it running, and is this its address?"), "{}", stderr(&status));
}

#[test]
fn a_segment_is_dumped_and_damage_is_shown() {
    let folder = tempfile::tempdir().unwrap();
    let batch = Builder::new()
        .record(&NewRecord::keyed(1_000, "k", "v"))
        .record(&NewRecord::value(2_000, "w"))
        .build();
    let file = folder.path().join("0.log");
    std::fs::write(&file, [&batch[..], &batch[..]].concat()).unwrap();
    let dumped = meridian(&["dump", "segment", path(&file), "--json"]);
    assert!(dumped.status.success(), "{}", stderr(&dumped));
    let lines: Vec<serde_json::Value> =
        stdout(&dumped).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2);
    assert_eq!((&lines[1]["records"], &lines[1]["at"]), (&2.into(), &batch.len().into()));
    assert!(lines[0]["fault"].is_null());

    let mut damaged = batch.to_vec();
    *damaged.last_mut().unwrap() ^= 1;
    std::fs::write(&file, damaged).unwrap();
    assert!(stdout(&meridian(&["dump", "segment", path(&file)])).contains("BROKEN"));
    std::fs::write(&file, &batch[..batch.len() - 1]).unwrap();
    let cut = meridian(&["dump", "segment", path(&file)]);
    assert!(stderr(&cut).contains("is cut"), "{}", stderr(&cut));
}

#[test]
fn a_wal_segment_and_a_checkpoint_need_their_names() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("notes.txt");
    std::fs::write(&file, "hello").unwrap();
    let journal = meridian(&["dump", "journal", path(&file)]);
    assert!(stderr(&journal).contains("is not named like a WAL segment"), "{}", stderr(&journal));
    let checkpoint = meridian(&["dump", "checkpoint", path(&file)]);
    assert!(stderr(&checkpoint).contains("is not named like a checkpoint"), "{}", stderr(&checkpoint));
    let empty = folder.path().join("0000000001.wal");
    std::fs::write(&empty, vec![0; 8192]).unwrap();
    let journal = meridian(&["dump", "journal", path(&empty)]);
    assert!(journal.status.success() && journal.stdout.is_empty(), "{}", stderr(&journal));
}
