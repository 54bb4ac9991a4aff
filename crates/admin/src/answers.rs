//! The answers, as they travel: plain data, with names where people read them.
//!
//! Both halves of this room use these types, so an answer is written and read by the same description. Fields are only
//! ever added; a reader passes over those it does not know.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The members after a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MembersNow {
    /// How often they have changed, the founders' time being 1.
    pub epoch: u32,
    /// Their names.
    pub members: Vec<String>,
}

/// A certificate that a site goes by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateStatus {
    /// For whom it is.
    pub name: String,
    /// The fingerprint of its key.
    pub key: String,
    /// From when on it counts, in Unix milliseconds.
    pub from_ms: u64,
    /// Until when it counts.
    pub until_ms: u64,
    /// When it should be renewed.
    pub due_ms: u64,
}

/// What a site goes by after it has read its certificates anew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificatesNow {
    /// Its own first, then the authorities'.
    pub certificates: Vec<CertificateStatus>,
    /// How many keys let nobody in.
    pub denied_keys: u64,
    /// Links that were cut because the other end is trusted no more.
    pub ended: Vec<EndedLink>,
}

/// A link that was cut.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndedLink {
    /// To which site.
    pub site: String,
    /// Why.
    pub reason: String,
}

/// Whom an operator gives up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GiveUpQuery {
    /// The sites' names, with commas between them.
    pub sites: String,
    /// How the operator wants to be remembered.
    pub who: String,
}

/// The site that holds no data and lets one of two halves go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Witness {
    /// Its name.
    pub site: String,
    /// Why it could not vote now, if it could not.
    pub lacks: Option<String>,
}

/// A decision to go on without a site, an operator's or the witness's: kept for good.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GivenUp {
    /// The site.
    pub site: String,
    /// In which epoch it was a member.
    pub epoch: u32,
    /// At which site that was decided.
    pub by: String,
    /// By whom.
    pub who: String,
    /// When, in Unix milliseconds.
    pub at_ms: u64,
    /// How long ago.
    pub for_ms: u64,
    /// How much of its journals was held there: they end no earlier.
    pub held: BTreeMap<String, u64>,
    /// Whether it still is given up; if not, it was added again.
    pub stands: bool,
}

/// Where a site stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SiteStatus {
    /// Its name.
    pub site: String,
    /// Its number.
    pub id: u16,
    /// The version of the program.
    pub version: String,
    /// What it speaks with other sites.
    #[serde(default)]
    pub protocol: u16,
    /// The cluster's id.
    pub cluster: String,
    /// The id of its data directory.
    pub storage: String,
    /// The journal it writes, if it has one.
    pub journal: Option<String>,
    /// What keeps it from writing, if something does.
    pub halt: Halt,
    /// How often the members have changed, the founders' time being 1.
    #[serde(default)]
    pub epoch: u32,
    /// The members.
    #[serde(default)]
    pub members: Vec<String>,
    /// Sites that the configuration knows and that are no members.
    #[serde(default)]
    pub others_known: Vec<String>,
    /// The witness, if there is one.
    #[serde(default)]
    pub witness: Option<Witness>,
    /// Who was given up.
    #[serde(default)]
    pub given_up: Vec<GivenUp>,
    /// Members heard from lately, and this site.
    pub alive: Vec<String>,
    /// The stamp below which nothing new can appear, in Unix milliseconds.
    pub stable_point_ms: u64,
    /// How far that is behind this site's clock while something waits for it; 0 while nothing does.
    pub stable_lag_ms: u64,
    /// Entries released in all.
    pub released: u64,
    /// Entries held and not released.
    pub unreleased: u64,
    /// What holds the order back, if anything waits.
    pub blocker: Option<BlockerStatus>,
    /// Every journal held here.
    pub journals: Vec<JournalStatus>,
    /// The latest comings, goings and ends of journals, in the merged order: the same at every site that has come as far.
    #[serde(default)]
    pub turns: Vec<Turn>,
    /// What each site is known to hold: next seq per journal, by site.
    pub frontiers: BTreeMap<String, BTreeMap<String, u64>>,
    /// The links to the other sites.
    pub peers: Vec<PeerStatus>,
    /// Bytes of the WAL on the disk.
    pub wal_bytes: u64,
    /// How large the WAL may grow for the sake of other sites.
    #[serde(default)]
    pub wal_bytes_max: u64,
    /// Sites that lack something of what the WAL has kept longest.
    #[serde(default)]
    pub wal_kept_for: Vec<String>,
    /// Its certificate, and those of the authorities that it trusts.
    #[serde(default)]
    pub certificates: Vec<CertificateStatus>,
    /// How far a copy from another site has come, if one is being taken over.
    #[serde(default)]
    pub copy: Option<CopyProgress>,
    /// What no other site holds yet, by name of those topics that bound it.
    #[serde(default)]
    pub unreplicated: BTreeMap<String, Unreplicated>,
    /// What the merge passed over, by reason.
    pub passed_over: BTreeMap<String, u64>,
    /// Alarms that stand, as sentences.
    pub alarms: Vec<String>,
}

/// What of a topic is held by the answering site only.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unreplicated {
    /// Bytes of batches.
    pub bytes: u64,
    /// How old the first of them is.
    pub age_ms: u64,
    /// Writes that wait for another site to hold more.
    pub held_back: u64,
}

/// How far a copy of another site's logs has come.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopyProgress {
    /// From which site, once one was found.
    pub from: Option<String>,
    /// Files wanted.
    pub files: u64,
    /// Files that are here and verified.
    pub files_done: u64,
    /// Bytes wanted.
    pub bytes: u64,
    /// Bytes that are here.
    pub bytes_done: u64,
}

/// What keeps a site from writing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Halt {
    /// Why its own journal takes nothing more, for good.
    pub halted: Option<String>,
    /// Why it takes no writes at the moment.
    pub not_writing: Option<String>,
    /// It went on without having heard all others.
    pub unconfirmed: bool,
    /// Its journal parted, and its return is not ordered yet.
    pub waits_for_opening: bool,
}

/// What the next release waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockerStatus {
    /// The journal that holds the order back.
    pub journal: String,
    /// Its site.
    pub site: String,
    /// Why, as a sentence.
    pub why: String,
    /// Since when, in Unix milliseconds.
    pub since_ms: u64,
    /// For how long.
    pub for_ms: u64,
}

/// Where one journal stands here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalStatus {
    /// Its name: site and incarnation.
    pub journal: String,
    /// Whose it is.
    pub site: String,
    /// The next seq that any site is known to hold.
    pub known: u64,
    /// The next seq not durable here.
    pub held: u64,
    /// The next seq not released here.
    pub released: u64,
    /// Known elsewhere and not held here, in bytes: estimated from the size of its latest entries, if any was seen.
    pub lag_bytes: Option<u64>,
    /// How far its latest promise is behind this site's clock, in milliseconds.
    pub promise_lag_ms: u64,
    /// Nothing more of it is taken.
    pub quarantined: bool,
    /// Where it ends, if its site was fenced.
    pub fenced_at: Option<u64>,
}

/// A journal came into the merged order, left it, ended, or had its tail come in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turn {
    /// Whose turn: site and incarnation.
    pub journal: String,
    /// The stamp at which it stands in the order. What came late, because of it, is sorted at this very stamp.
    pub stamp: u64,
    /// The time of that stamp, in Unix milliseconds.
    pub time_ms: u64,
    /// What happened.
    #[serde(flatten)]
    pub what: TurnKind,
}

/// What happened to a journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "lowercase")]
pub enum TurnKind {
    /// It left; what follows sorts where it comes back.
    Parted,
    /// It takes part from here.
    Opened,
    /// It ended: its site was fenced, or goes on in another one.
    Sealed {
        /// The first entry beyond the end.
        cut: u64,
    },
    /// Entries beyond its end come in here.
    Adopted {
        /// The first of them.
        from: u64,
        /// The first that is not among them.
        upto: u64,
    },
}

impl JournalStatus {
    /// Entries known elsewhere and not held here.
    #[must_use]
    pub fn lag_entries(&self) -> u64 {
        self.known.saturating_sub(self.held)
    }

    /// Entries held here and not released.
    #[must_use]
    pub fn unreleased_entries(&self) -> u64 {
        self.held.saturating_sub(self.released)
    }
}

/// The link to one other site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerStatus {
    /// The other site.
    pub site: String,
    /// Whether the link is up.
    pub up: bool,
    /// Smoothed round-trip time.
    pub rtt_us: u64,
    /// Packets lost on this connection.
    pub lost_packets: u64,
    /// Packets sent on this connection.
    pub sent_packets: u64,
    /// Bytes that the congestion controller lets be under way.
    pub window_bytes: u64,
    /// Bytes sent on this connection.
    pub sent_bytes: u64,
    /// Bytes received on this connection.
    pub received_bytes: u64,
    /// Bytes that wait to be sent.
    pub queued_bytes: u64,
}

/// Which digests are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DigestQuery {
    /// Of this topic only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// Of this partition only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition: Option<u32>,
    /// Of what lies below this offset; without it, of all that is readable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<u64>,
}

/// The digest of one merged log, up to an offset: equal digests, equal logs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogDigest {
    /// The topic's name.
    pub topic: String,
    /// Its id.
    pub topic_id: String,
    /// The partition.
    pub partition: u32,
    /// The first offset there is.
    pub start: u64,
    /// The digest covers what lies below this offset.
    pub end: u64,
    /// The digest, in hexadecimal.
    pub digest: String,
    /// How often the log was compacted.
    #[serde(default)]
    pub generation: u64,
    /// The digest of what came of that, in hexadecimal.
    #[serde(default)]
    pub compacted: String,
}

/// A consumer group as one site knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// Its name.
    pub group: String,
    /// The site that coordinates it now.
    pub coordinator: Option<String>,
    /// Its progress.
    pub positions: Vec<GroupPosition>,
}

/// How far a group has come in one partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupPosition {
    /// The topic's name.
    pub topic: String,
    /// The partition.
    pub partition: u32,
    /// The next offset to read.
    pub offset: u64,
}
