//! The kinds of faults, by the names that a report shows.

/// What a fault strikes, so that two of one round do not get into each other's way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// One site's process or disk.
    Site,
    /// Links between sites.
    Links,
    /// All sites at once or in turn.
    Cluster,
    /// A client.
    Client,
}

/// What this machine and these binaries allow.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Means {
    /// Every site has a disk of its own.
    pub(crate) disks: bool,
    /// Processes can be traced.
    pub(crate) tracer: bool,
}

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Kill,
    KillAll,
    Pause,
    Restart,
    RollingRestart,
    CutSite,
    CutPair,
    CutOneWay,
    Flap,
    Loss,
    Slow,
    SlowSync,
    FailedSync,
    FullDisk,
    PowerCut,
    PowerCutAll,
    Restore,
    Wipe,
    ClockStep,
    ClockJump,
    Fence,
    CutUntilFenced,
    KillClient,
}

impl Kind {
    pub(crate) const ALL: [Kind; 23] = [
        Kind::Kill,
        Kind::KillAll,
        Kind::Pause,
        Kind::Restart,
        Kind::RollingRestart,
        Kind::CutSite,
        Kind::CutPair,
        Kind::CutOneWay,
        Kind::Flap,
        Kind::Loss,
        Kind::Slow,
        Kind::SlowSync,
        Kind::FailedSync,
        Kind::FullDisk,
        Kind::PowerCut,
        Kind::PowerCutAll,
        Kind::Restore,
        Kind::Wipe,
        Kind::ClockStep,
        Kind::ClockJump,
        Kind::Fence,
        Kind::CutUntilFenced,
        Kind::KillClient,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Kill => "kill",
            Kind::KillAll => "kill-all",
            Kind::Pause => "pause",
            Kind::Restart => "restart",
            Kind::RollingRestart => "rolling-restart",
            Kind::CutSite => "cut-site",
            Kind::CutPair => "cut-pair",
            Kind::CutOneWay => "cut-one-way",
            Kind::Flap => "flap",
            Kind::Loss => "loss",
            Kind::Slow => "slow-link",
            Kind::SlowSync => "slow-sync",
            Kind::FailedSync => "failed-sync",
            Kind::FullDisk => "full-disk",
            Kind::PowerCut => "power-cut",
            Kind::PowerCutAll => "power-cut-all",
            Kind::Restore => "restore-backup",
            Kind::Wipe => "wipe",
            Kind::ClockStep => "clock-step",
            Kind::ClockJump => "clock-jump",
            Kind::Fence => "fence",
            Kind::CutUntilFenced => "cut-until-fenced",
            Kind::KillClient => "kill-client",
        }
    }

    /// One line for the report.
    pub(crate) fn means(self) -> &'static str {
        match self {
            Kind::Kill => "SIGKILL, start some seconds later",
            Kind::KillAll => "SIGKILL of all sites at once",
            Kind::Pause => "SIGSTOP for some seconds, then SIGCONT",
            Kind::Restart => "SIGTERM, start some seconds later",
            Kind::RollingRestart => "SIGTERM and start of each site in turn",
            Kind::CutSite => "a site's links cut, both ways",
            Kind::CutPair => "the link of two sites cut, both ways",
            Kind::CutOneWay => "one direction of one link cut",
            Kind::Flap => "a site's links cut and healed every second or so",
            Kind::Loss => "loss, duplicates, reordering and flipped bits on a site's links",
            Kind::Slow => "a site's links several times as long, with jitter",
            Kind::SlowSync => "every sync delayed (strace)",
            Kind::FailedSync => "a sync fails with EIO (strace); the process must end, and is started again",
            Kind::FullDisk => "the disk filled up, later cleared",
            Kind::PowerCut => "process and page cache gone; what the device had stays",
            Kind::PowerCutAll => "the same at all sites at once",
            Kind::Restore => "writes paused; the disk put back as it was when the fault began",
            Kind::Wipe => "writes paused; the data directory emptied, then `meridian join`",
            Kind::ClockStep => "the clock set forward or back within the bound, later set right",
            Kind::ClockJump => "the clock set forward or back by seconds, later set right",
            Kind::Fence => "`meridian site fence` of a site that stands still, or lives; then it goes on",
            Kind::CutUntilFenced => "a site's links cut until the others fence it; then it returns",
            Kind::KillClient => "SIGKILL of a client process, start of its next life",
        }
    }

    pub(crate) fn reach(self) -> Reach {
        match self {
            Kind::CutSite
            | Kind::CutPair
            | Kind::CutOneWay
            | Kind::CutUntilFenced
            | Kind::Flap
            | Kind::Loss
            | Kind::Slow => Reach::Links,
            Kind::KillAll | Kind::RollingRestart | Kind::PowerCutAll => Reach::Cluster,
            Kind::KillClient => Reach::Client,
            _ => Reach::Site,
        }
    }

    /// Whether it takes a disk's content away. Two at once may be more than a minority.
    pub(crate) fn loses_a_disk(self) -> bool {
        matches!(self, Kind::Restore | Kind::Wipe)
    }

    /// In which turn of its round it is undone. A fence takes a majority, and so may a site that is to become ready: it is
    /// waited for when every link is whole, and a disk is lost only when the others can have caught up.
    pub(crate) fn turn(self) -> u8 {
        match self {
            Kind::RollingRestart | Kind::Restore | Kind::Wipe => 2,
            Kind::Fence | Kind::CutUntilFenced => 1,
            _ => 0,
        }
    }

    /// Whether it can strike a witness: its clock does not count, it is nobody to fence, and its disk is not put back.
    pub(crate) fn strikes_a_witness(self) -> bool {
        !self.loses_a_disk()
            && !self.waits_for_a_fence()
            && !matches!(self, Kind::ClockStep | Kind::ClockJump)
    }

    /// Whether it is over only when the others have agreed on a fence.
    pub(crate) fn waits_for_a_fence(self) -> bool {
        matches!(self, Kind::Fence | Kind::CutUntilFenced)
    }

    pub(crate) fn is_possible(self, means: Means) -> bool {
        match self {
            Kind::FullDisk | Kind::PowerCut | Kind::PowerCutAll | Kind::Restore => means.disks,
            Kind::SlowSync | Kind::FailedSync => means.tracer,
            _ => true,
        }
    }

    /// The kind of this name.
    pub(crate) fn parse(name: &str) -> Result<Kind, String> {
        Kind::ALL.into_iter().find(|kind| kind.name() == name).ok_or_else(|| {
            let names: Vec<&str> = Kind::ALL.into_iter().map(Kind::name).collect();
            format!("there is no fault {name}; there are {}", names.join(", "))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Kind, Means, Reach};

    #[test]
    fn names_are_unique_and_read_back() {
        for kind in Kind::ALL {
            assert_eq!(Kind::parse(kind.name()), Ok(kind));
        }
        assert!(Kind::parse("earthquake").unwrap_err().contains("kill-all"));
    }

    #[test]
    fn no_site_is_waited_for_while_a_link_is_cut() {
        let waits = |kind: &Kind| kind.loses_a_disk() || *kind == Kind::RollingRestart;
        let links = Kind::ALL.into_iter().filter(|kind| kind.reach() == Reach::Links).map(Kind::turn).max();
        assert!(Kind::ALL.into_iter().filter(waits).all(|kind| Some(kind.turn()) > links));
        assert!(Kind::ALL.into_iter().filter(|kind| kind.waits_for_a_fence()).all(|kind| kind.turn() == 1));
    }

    #[test]
    fn without_root_there_is_still_enough_to_go_wrong() {
        let possible = Kind::ALL.into_iter().filter(|kind| kind.is_possible(Means::default())).count();
        assert_eq!(possible, 17);
    }
}
