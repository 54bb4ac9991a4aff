//! A run that is told to end takes along what it has started, and leaves alone what runs beside it. The sites are pretended:
//! they never become ready, and so the runs wait.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};

const PATIENCE: Duration = Duration::from_secs(60);
const PRETENDED: &str = "#!/bin/sh
if [ \"$1\" = serve ]; then echo $$ >> \"$(dirname \"$0\")/sites\"; exec sleep 600; fi
";

struct Run {
    folder: tempfile::TempDir,
    chaos: Child,
}

fn pid(number: u32) -> Pid {
    Pid::from_raw(i32::try_from(number).unwrap()).unwrap()
}

impl Run {
    fn start() -> Run {
        let folder = tempfile::Builder::new().prefix("s-").tempdir().unwrap();
        let meridian = folder.path().join("meridian");
        std::fs::write(&meridian, PRETENDED).unwrap();
        std::fs::set_permissions(&meridian, std::fs::Permissions::from_mode(0o755)).unwrap();
        let mut chaos = Command::new(env!("CARGO_BIN_EXE_chaos"));
        chaos.arg("--meridian").arg(&meridian).arg("--folder").arg(folder.path());
        let chaos = chaos.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        Run { folder, chaos }
    }

    /// The processes of its three sites.
    fn sites(&mut self) -> Vec<Pid> {
        let until = Instant::now() + PATIENCE;
        loop {
            let text = std::fs::read_to_string(self.folder.path().join("sites")).unwrap_or_default();
            let sites: Vec<Pid> = text.lines().map(|line| pid(line.parse().unwrap())).collect();
            if sites.len() == 3 {
                return sites;
            }
            assert!(Instant::now() < until && self.chaos.try_wait().unwrap().is_none(), "it does not start");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn end(mut self, signal: Signal) -> (Option<i32>, String) {
        let sites = self.sites();
        kill_process(pid(self.chaos.id()), signal).unwrap();
        let output = self.chaos.wait_with_output().unwrap();
        assert!(sites.iter().all(|site| test_kill_process(*site).is_err()), "its sites are gone");
        assert_eq!(left(self.folder.path()), (Vec::new(), false));
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    }
}

/// What is in a folder that the test has not put there, and whether anything is mounted below it.
fn left(folder: &Path) -> (Vec<PathBuf>, bool) {
    let made = ["meridian", "sites"].map(|name| folder.join(name));
    let found = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap_or_default();
    (found.filter(|path| !made.contains(path)).collect(), mounts.contains(folder.to_str().unwrap()))
}

#[test]
fn runs_go_beside_each_other_and_end_with_all_they_started_when_they_are_told_to() {
    let (mut one, mut other) = (Run::start(), Run::start());
    one.sites();
    let sites = other.sites();
    let (code, said) = one.end(Signal::TERM);
    assert_eq!((code, said.as_str()), (Some(143), "chaos: SIGTERM: the run is given up\n"));
    assert!(sites.iter().all(|site| test_kill_process(*site).is_ok()), "the other run goes on");
    let (code, said) = other.end(Signal::INT);
    assert_eq!((code, said.as_str()), (Some(130), "chaos: SIGINT: the run is given up\n"));
}
