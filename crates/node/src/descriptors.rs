//! How many files and sockets this process may have open, and who gets how many.
//!
//! A process that runs out of them fails where it hurts most: at the next log segment. So the limit is raised as far as
//! the operating system allows, and shared out: a fixed number for what the node itself needs, a part for files of logs
//! that are kept open, the rest for Kafka clients. A client too many is then refused, with a line in the log, while files
//! still open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// For links, listeners, the runtime, checkpoints (some 40), reads under way of files that are kept open no longer, HTTP
/// requests, and an operator's: 64 each at most.
const OWN: u64 = 240;
/// The least of that, where the limit is small.
const OWN_LEAST: u64 = 96;
/// Files of logs kept open at most.
const FILES_MAX: u64 = 512;
/// With less than this there is nothing to share out.
const LEAST: u64 = 2 * OWN_LEAST;

/// The shares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shares {
    /// Open at a time in all.
    pub(crate) limit: u64,
    /// Files of logs that are kept open.
    pub(crate) files: usize,
    /// Connections of Kafka clients.
    pub(crate) connections: usize,
}

/// Raises the soft limit to the hard one, and shares that out.
pub(crate) fn raise(connections_wanted: usize) -> Shares {
    let found = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: found.maximum, maximum: found.maximum };
    let limit = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => found.maximum,
        Err(_) => found.current,
    };
    // No limit at all is more than anybody wants.
    share(limit.unwrap_or(u64::MAX), connections_wanted)
}

fn share(limit: u64, connections_wanted: usize) -> Shares {
    let rest = limit.max(LEAST) - OWN.min(limit / 2).max(OWN_LEAST);
    let files = FILES_MAX.min(rest / 2);
    let connections = usize::try_from(rest - files).unwrap_or(usize::MAX).min(connections_wanted);
    Shares { limit, files: usize::try_from(files).unwrap_or(1), connections }
}

#[cfg(test)]
mod tests {
    use super::{Shares, share};

    #[test]
    fn a_large_limit_gives_everybody_what_they_want() {
        assert_eq!(share(u64::MAX, 4096), Shares { limit: u64::MAX, files: 512, connections: 4096 });
        assert_eq!(share(1 << 20, 4096).connections, 4096);
    }

    #[test]
    fn a_small_one_is_shared_so_that_files_can_always_be_opened() {
        assert_eq!(share(1024, 4096), Shares { limit: 1024, files: 392, connections: 392 });
        assert_eq!(share(300, 4096), Shares { limit: 300, files: 75, connections: 75 });
        let least = share(10, 4096);
        assert_eq!((least.files, least.connections), (48, 48), "too little for anything: it is tried");
    }
}
