//! When, where and by which command a run was made: figures mean nothing without.

use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

/// The circumstances of a run.
#[derive(Debug, Serialize)]
pub(crate) struct Facts {
    pub(crate) command: String,
    /// UTC, as 2026-01-31 12:34.
    pub(crate) began: String,
    pub(crate) commit: String,
    pub(crate) cpu: String,
    pub(crate) cores: usize,
    pub(crate) memory_gib: f64,
    pub(crate) kernel: String,
    pub(crate) filesystem: String,
    /// Processes that wanted a core in the minute before the run: what else went on.
    pub(crate) load_before: String,
    /// Whether the binaries are optimised.
    pub(crate) profile: String,
}

impl Facts {
    /// Looks around; `folder` is where data will lie.
    pub(crate) fn gather(folder: &Path) -> Self {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let system = rustix::system::uname();
        Self {
            command: format!("bench {}", arguments.join(" ")),
            began: moment(seconds),
            commit: commit(),
            cpu: after_colon(&read("/proc/cpuinfo"), "model name"),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_gib: kib(&read("/proc/meminfo"), "MemTotal") as f64 / f64::from(1 << 20),
            kernel: system.release().to_string_lossy().into_owned(),
            filesystem: filesystem(&read("/proc/self/mountinfo"), folder),
            load_before: read("/proc/loadavg").split(' ').next().unwrap_or_default().to_owned(),
            profile: if cfg!(debug_assertions) { "dev" } else { "release" }.to_owned(),
        }
    }

    /// The day, for file names.
    pub(crate) fn date(&self) -> &str {
        self.began.split(' ').next().unwrap_or_default()
    }

    /// For people.
    pub(crate) fn rows(&self) -> Vec<(&'static str, String)> {
        let Self { command, began, commit, cpu, cores, memory_gib, kernel, filesystem, .. } = self;
        vec![
            ("command", command.clone()),
            ("began", format!("{began} UTC")),
            ("commit", format!("{commit}, {} build", self.profile)),
            (
                "machine",
                format!("{cores} × {cpu}, {memory_gib:.1} GiB, Linux {kernel}, data on {filesystem}"),
            ),
            ("load before", format!("{} (processes wanting a core)", self.load_before)),
        ]
    }
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

fn commit() -> String {
    let git = Command::new("git").args(["describe", "--always", "--dirty", "--abbrev=10"]).output();
    let said = git.ok().filter(|output| output.status.success());
    let hash = said.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    hash.filter(|hash| !hash.is_empty()).unwrap_or_else(|| "unknown".to_owned())
}

/// What stands behind the colon of the first line that begins so.
fn after_colon(text: &str, name: &str) -> String {
    let line = text.lines().find(|line| line.starts_with(name));
    let value = line.and_then(|line| line.split_once(':')).map(|(_, value)| value.trim().to_owned());
    value.unwrap_or_else(|| "unknown".to_owned())
}

/// A figure of a `name:   123 kB` line; 0 if there is none.
pub(crate) fn kib(text: &str, name: &str) -> u64 {
    after_colon(text, name).split(' ').next().and_then(|figure| figure.parse().ok()).unwrap_or(0)
}

/// The kind of filesystem that a folder is on: that of the longest mount point above it.
fn filesystem(mounts: &str, folder: &Path) -> String {
    let mount = |line: &str| {
        let (place, kind) = line.split_once(" - ")?;
        let point = place.split(' ').nth(4)?.to_owned();
        folder.starts_with(&point).then(|| (point.len(), kind.split(' ').next().map(str::to_owned)))
    };
    let deepest = mounts.lines().filter_map(mount).max_by_key(|(depth, _)| *depth);
    deepest.and_then(|(_, kind)| kind).unwrap_or_else(|| "unknown".to_owned())
}

/// A Unix time as the day and minute in UTC. Days are counted from the first of March, so that leap days come last.
fn moment(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400 + 719_468, seconds % 86_400);
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02}", rest / 3_600, rest / 60 % 60)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{after_colon, filesystem, kib, moment};

    #[test]
    fn days_are_those_of_the_calendar() {
        assert_eq!(moment(0), "1970-01-01 00:00");
        assert_eq!(moment(951_782_399), "2000-02-28 23:59");
        assert_eq!(moment(951_782_400), "2000-02-29 00:00");
        assert_eq!(moment(1_798_761_599), "2026-12-31 23:59");
        assert_eq!(moment(1_772_323_200), "2026-03-01 00:00");
    }

    #[test]
    fn figures_are_found_by_name() {
        let text = "VmPeak:\t  500 kB\nVmRSS:\t  1234 kB\n";
        assert_eq!(kib(text, "VmRSS"), 1_234);
        assert_eq!(kib(text, "VmHWM"), 0);
        assert_eq!(after_colon("model name\t: Some CPU\n", "model name"), "Some CPU");
    }

    #[test]
    fn the_deepest_mount_tells_the_filesystem() {
        let mounts = "1 0 8:1 / / rw - ext4 /dev/a rw\n2 1 0:5 / /tmp rw,x shared:1 - tmpfs none rw\n";
        assert_eq!(filesystem(mounts, Path::new("/tmp/x")), "tmpfs");
        assert_eq!(filesystem(mounts, Path::new("/home")), "ext4");
        assert_eq!(filesystem("", Path::new("/home")), "unknown");
    }
}
