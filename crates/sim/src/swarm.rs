//! What goes wrong in a run, and how often: drawn from the seed, a different mix each time.
//!
//! A run that has all faults at once finds less than many runs with a few each, since faults hide each other. So each
//! kind is in or out per seed, one run in four is quiet, and rates differ by orders of magnitude.

use std::collections::BTreeMap;

use entry::SiteId;

use crate::checkers::Bounds;
use crate::net::Weather;
use crate::rng::Rng;

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A process is killed.
    Kill,
    /// A process is killed between two actions of one step.
    KillBetween,
    /// The power of one site goes.
    Power,
    /// The power of all sites goes.
    PowerAll,
    /// A process stands still.
    Pause,
    /// A site is cut off from all others.
    Isolate,
    /// One direction of one link is blocked.
    Block,
    /// A connection dies.
    Cut,
    /// A wall clock jumps.
    Jump,
    /// A disk has no room left.
    Full,
    /// A sync fails.
    SyncFails,
    /// A site is stopped in good order.
    Stop,
    /// A disk becomes slow.
    Slow,
    /// A data directory is put back as it was some time before, while the others run and hold all that is lost.
    Restore,
    /// Some sites are cut off from the rest, both ways.
    Split,
    /// Each site hears only its two neighbours in a ring.
    Ring,
    /// One direction is blocked and healed again and again.
    Flap,
    /// What is on its way in one direction stands still for a while, then all comes at once.
    Clog,
    /// The power goes while a site recovers.
    RecoveryCut,
    /// A read of the WAL gives back other bytes than were written.
    Misread,
    /// The newest checkpoint is damaged while no process runs.
    Rot,
    /// A site is started on a copy of another one's data directory.
    Clone,
    /// A sync takes a second and more.
    Stall,
    /// A disk is lost and an empty one put in; so it goes with three of ten restarts as well, in a minority at a time.
    Wipe,
    /// An operator fences a site, cut off or not.
    Fence,
    /// A bit flips in a segment of the WAL that no recovery needs, while no process runs.
    Decay,
    /// A file of the logs is damaged while no process runs: a bit flips, a sector is zeros, the end is cut off, or all of it is gone.
    /// What it costs is whole elsewhere, though nobody need have the whole file.
    Scratch,
    /// A site passes on, under others' names, what they never wrote.
    Forge,
    /// An operator makes a known site a member.
    Add,
    /// An operator lets a member go, which has left or is gone.
    Remove,
    /// Topics keep records for a time, or so many bytes; when it strikes, somebody has records deleted.
    Retain,
    /// A disk is low, and has room again after a while.
    Low,
    /// Others fill a disk, nearly or wholly, and take no heed of what its site keeps for its logs.
    Crowd,
    /// Queues are short, and for a while clients write more than fits.
    Flood,
    /// A site is restarted on the next version, or on the one before; at first all run the one before.
    Upgrade,
    /// A half of the members or more are lost, and an operator has the others go on without them.
    Force,
    /// A wall clock is set back by much more than the bound, and set right after a while; one at a time.
    Behind,
    /// The last site is a witness; when it strikes, halves lose each other or are lost, or the witness is (`witness`).
    Witness,
}

/// Kinds that happen only where they are asked for.
const ASKED: [Kind; 14] = [
    Kind::Restore,
    Kind::Forge,
    Kind::Add,
    Kind::Remove,
    Kind::Decay,
    Kind::Scratch,
    Kind::Retain,
    Kind::Low,
    Kind::Crowd,
    Kind::Flood,
    Kind::Upgrade,
    Kind::Force,
    Kind::Witness,
    Kind::Behind,
];

/// Kinds that came last: drawn from a stream of their own.
const LATEST: [Kind; 2] = [Kind::Wipe, Kind::Fence];

/// Kinds that came later: which of them a seed has does not change what it has of the others.
const MORE: [Kind; 9] = [
    Kind::Split,
    Kind::Ring,
    Kind::Flap,
    Kind::Clog,
    Kind::RecoveryCut,
    Kind::Misread,
    Kind::Rot,
    Kind::Clone,
    Kind::Stall,
];

const KINDS: [Kind; 13] = [
    Kind::Kill,
    Kind::KillBetween,
    Kind::Power,
    Kind::PowerAll,
    Kind::Pause,
    Kind::Isolate,
    Kind::Block,
    Kind::Cut,
    Kind::Jump,
    Kind::Full,
    Kind::SyncFails,
    Kind::Stop,
    Kind::Slow,
];

impl Kind {
    /// The kind of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Kind> {
        let all = KINDS.iter().chain(&MORE).chain(&LATEST).chain(&ASKED);
        all.copied().find(|kind| format!("{kind:?}") == name)
    }
}

/// The mix of one run.
#[derive(Debug, Clone)]
pub struct Swarm {
    /// The kinds that happen.
    pub kinds: Vec<Kind>,
    /// Microseconds between two faults, at most.
    pub every_us: u64,
    /// How far clocks may be off, in milliseconds.
    pub offset_ms: i64,
    /// Whether topics are deleted.
    pub deletes: bool,
    /// How many clients there are.
    pub clients: usize,
    /// Microseconds that a client rests between two requests, at most.
    pub rest_us: u64,
    /// WAL bytes between two checkpoints.
    pub checkpoint_bytes: u64,
    /// Length of a WAL segment.
    pub segment_bytes: u64,
    /// How large a WAL grows for the sake of others.
    pub wal_bytes_max: u64,
    /// Bytes on their way to a peer, at most.
    pub window_bytes: usize,
    /// How long a start waits for the others, in milliseconds.
    pub start_wait_ms: u64,
    /// How long a disk operation takes at least, in microseconds.
    pub disk_us: u64,
    /// After how long a silent site is fenced, in milliseconds; 0 for never.
    pub fence_timeout_ms: u64,
    /// Whether one of the topics bounds what only one site has of it.
    pub bounded: bool,
    /// Whether one of the topics is compacted.
    pub compacted: bool,
    /// What two of the topics keep, if they do not keep all.
    pub kept: Option<Kept>,
    /// What sites hold at most, where queues are short.
    pub bounds: Option<Bounds>,
    /// Whether sites begin with the version before.
    pub upgrades: bool,
}

/// What a topic keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    /// For how long, in milliseconds.
    pub age_ms: Option<u64>,
    /// How many bytes.
    pub bytes: Option<u64>,
}

impl Swarm {
    /// The mix of a seed.
    #[must_use]
    pub fn of(rng: &mut Rng) -> Swarm {
        let quiet = rng.chance(250);
        let kinds = KINDS.iter().filter(|_| !quiet && rng.chance(350)).copied().collect();
        Swarm {
            kinds,
            every_us: *rng.pick(&[300_000, 1_000_000, 3_000_000]),
            offset_ms: *rng.pick(&[5, 100, 240]),
            deletes: rng.chance(300),
            clients: usize::try_from(rng.between(2, 7)).unwrap_or(2),
            rest_us: *rng.pick(&[10_000, 100_000, 400_000]),
            checkpoint_bytes: *rng.pick(&[4 << 10, 32 << 10, 256 << 10]),
            segment_bytes: *rng.pick(&[8 << 10, 32 << 10, 128 << 10]),
            wal_bytes_max: u64::MAX,
            window_bytes: *rng.pick(&[2 << 10, 16 << 10, 1 << 20]),
            start_wait_ms: *rng.pick(&[200, 1000, 3000]),
            disk_us: *rng.pick(&[50, 500, 5_000]),
            fence_timeout_ms: *rng.pick(&[0, 0, 1_000, 4_000]),
            bounded: false,
            compacted: false,
            kept: None,
            bounds: None,
            upgrades: false,
        }
    }

    /// How large WALs grow: of a stream of its own, so that the rest of a seed stays what it was.
    pub fn bound_wals(&mut self, rng: &mut Rng) {
        let segment = self.segment_bytes;
        self.wal_bytes_max = *rng.pick(&[segment, 3 * segment, u64::MAX]);
    }

    /// Kinds that came later, worse weather, and in one seed of twelve, if `may_restore`, backups that are put back.
    pub fn more(&mut self, weather: &mut Weather, may_restore: bool, rng: &mut Rng) {
        let quiet = self.kinds.is_empty();
        self.kinds.extend(MORE.iter().filter(|_| !quiet && rng.chance(250)));
        if rng.chance(250) {
            weather.loss_permille = *rng.pick(&[50, 300]);
        }
        if rng.chance(250) {
            weather.double_permille = *rng.pick(&[100, 500]);
        }
        if !quiet && rng.chance(150) {
            self.every_us = 100_000;
        }
        if may_restore && rng.chance(80) {
            self.also(&[Kind::Restore]);
        }
    }

    /// The kinds that came last. Where backups are put back, disks are let alone otherwise.
    pub fn latest(&mut self, rng: &mut Rng) {
        let quiet = self.kinds.is_empty() || self.kinds.contains(&Kind::Restore);
        self.kinds.extend(LATEST.iter().filter(|_| !quiet && rng.chance(200)));
    }

    /// What topics keep, where it is asked for: of a stream of its own.
    pub fn keep_less(&mut self, rng: &mut Rng) {
        let (age_ms, bytes) = *rng.pick(&[
            (Some(1_000), None),
            (Some(4_000), None),
            (None, Some(4_000)),
            (Some(3_000), Some(9_000)),
        ]);
        if self.kinds.contains(&Kind::Retain) {
            self.kept = Some(Kept { age_ms, bytes });
        }
        let unreleased_max = *rng.pick(&[30, 1_000]);
        let bounds = Bounds { waiting_bytes_max: 4 << 10, unreleased_max };
        self.bounds = self.kinds.contains(&Kind::Flood).then_some(bounds);
        self.upgrades = self.kinds.contains(&Kind::Upgrade);
        if self.upgrades {
            // The one thing that only the next version says is that time has passed: where little is written.
            (self.clients, self.rest_us) = (2, 2_000_000);
            self.kept = Some(Kept { age_ms: Some(300), bytes: None });
        }
    }

    /// How often, by merged stamps, it is looked at what need not be kept, in milliseconds; `usual` where nothing goes.
    #[must_use]
    pub fn period_ms(&self, usual: u64) -> u64 {
        match (self.upgrades, self.compacted || self.kept.is_some()) {
            (true, _) => 150,
            (false, true) => 700,
            (false, false) => usual,
        }
    }

    /// Who stays dead must be fenced some time: nobody else does it in these runs.
    pub fn fences_for_sure(&mut self) {
        if self.fence_timeout_ms == 0 {
            self.fence_timeout_ms = 4_000;
        }
    }

    /// More kinds: for mutants, which want some for sure.
    pub fn also(&mut self, kinds: &[Kind]) {
        self.kinds.extend(kinds.iter().copied());
        if kinds.contains(&Kind::Decay) {
            // What is damaged must be to be had elsewhere.
            self.wal_bytes_max = u64::MAX;
        }
        if kinds.contains(&Kind::Scratch) {
            // What others have compacted is not to be had from them any more.
            self.compacted = false;
        }
        if kinds.contains(&Kind::Witness) {
            // Nobody asks it before the timeout.
            self.fences_for_sure();
        }
        if kinds.contains(&Kind::Force) {
            // Of what a majority that was given up had shown, nobody could tell what compaction has left out of it.
            self.compacted = false;
        }
        if kinds.contains(&Kind::Restore) {
            // A site that could not ask the others would rightly go on, and rightly be halted.
            self.kinds = vec![Kind::Restore];
            self.start_wait_ms = 20_000;
        }
    }
}

/// The network of a seed.
#[must_use]
pub fn weather(sites: &[SiteId], rng: &mut Rng) -> Weather {
    let scale = *rng.pick(&[1, 10, 10, 50]);
    let mut delay_us = BTreeMap::new();
    for from in sites {
        for to in sites.iter().filter(|to| *to > from) {
            let delay = rng.between(500, 2_500) * scale;
            delay_us.insert((*from, *to), delay);
            delay_us.insert((*to, *from), delay + rng.below(delay / 4 + 1));
        }
    }
    Weather {
        delay_us,
        jitter_us: rng.below(2_000 * scale),
        loss_permille: *rng.pick(&[0, 0, 10, 200]),
        double_permille: *rng.pick(&[0, 0, 20]),
    }
}
