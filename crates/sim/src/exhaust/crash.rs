//! The power goes after every single operation of a site's disk, with every set of unsynced writes kept.
//!
//! A short life is lived once, with topics, batches, commits, rolled segments and checkpoints. Then for every operation
//! of its disk, and for every legal content of the platter after it, the site is recovered, and what it had told
//! by then is held against it: it starts (I-05), has what it acknowledged (I-02), what it said to hold (I-14) and what
//! it showed to readers (I-20), and stamps nothing that it had promised away, though its clock went back (I-22).
//!
//! Many of these platters are the same to the last byte, from one operation to the next above all. A recovery is a function
//! of the platter, and its judgement one of that and of what was told: the same two are gone through once.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};

use batch::{Builder, NewRecord};
use bytes::Bytes;
use clock::Stamp;
use disk::{Disk, FileName, MemoryDisk};
use entry::{JournalId, TopicId};
use site::{Acknowledge, Action, Append, Commit, Entropy, Event, Reading, Request, Site, Ticket};

use super::pair::{Node, Pair, Told, WATCHED, config, time};
use super::platter::Platter;
use super::shared_out;
use crate::checkers::truth;
use crate::host::Flight;
use crate::notary::SimNotary;

/// How much there is to do.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// How many rounds of requests the life has.
    pub rounds: u64,
    /// Of how many unsynced writes, the latest, every set is tried; those before are all kept, or all lost.
    pub open_max: usize,
    /// On how many threads.
    pub threads: usize,
}

/// How it went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Operations of the disk, after each of which the power went.
    pub operations: u64,
    /// Of them, after how many more writes were open than every set is tried of.
    pub bounded: u64,
    /// The most writes that were open at once.
    pub open_most: u64,
    /// Platters that there may be after them, taken together.
    pub platters: u64,
    /// Those of them that differ, each recovered from.
    pub recoveries: u64,
    /// The same, where recovery cut a torn write off.
    pub torn: u64,
}

/// Lives the life and takes the power away wherever that is possible.
///
/// # Errors
/// The first case in which something that was told is not true any more.
pub fn everywhere(wanted: Wanted) -> Result<Counts, String> {
    let (pair, first) = life(wanted.rounds);
    let node = pair.watched();
    let operations = (node.disk.ops.len() - first) as u64;
    let seen = Seen::default();
    let parts = shared_out(wanted.threads, operations, |numbers| {
        let (mut counts, mut platter, mut taken) = (Counts::default(), Platter::default(), 0);
        for number in numbers {
            let upto = first + number as usize + 1;
            node.disk.ops[taken..upto].iter().for_each(|op| platter.take(op));
            taken = upto;
            after(node, upto, &platter, wanted.open_max, (&seen, &mut counts))?;
        }
        Ok(counts)
    });
    let mut sum = Counts { operations, ..Counts::default() };
    for part in parts {
        let part: Counts = part.map_err(|seen: String| seen)?;
        sum.bounded += part.bounded;
        sum.open_most = sum.open_most.max(part.open_most);
        sum.platters += part.platters;
        sum.recoveries += part.recoveries;
        sum.torn += part.torn;
    }
    Ok(sum)
}

/// Digests of what was gone through: of a platter, with the number of what had been told by then.
#[derive(Debug, Default)]
struct Seen(Mutex<BTreeSet<[u8; 32]>>);

impl Seen {
    fn is_new(&self, disk: &MemoryDisk, names: &BTreeSet<FileName>, told: usize) -> bool {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&told.to_be_bytes());
        for name in names {
            let bytes = disk.len(name).ok().flatten().and_then(|len| disk.read(name, 0, len as usize).ok());
            let len = bytes.as_ref().map_or(u64::MAX, |bytes| bytes.len() as u64);
            hasher.update(name.as_str().as_bytes());
            hasher.update(&len.to_be_bytes());
            hasher.update(&bytes.unwrap_or_default());
        }
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(*hasher.finalize().as_bytes())
    }
}

/// The power goes after `upto` operations.
fn after(
    node: &Node,
    upto: usize,
    platter: &Platter,
    most: usize,
    (seen, counts): (&Seen, &mut Counts),
) -> Result<(), String> {
    let last = node.history.iter().rposition(|(ops, _)| *ops <= upto);
    let told = last.map(|last| node.history[last].1.clone()).unwrap_or_default();
    let told_number = last.map_or(0, |last| last + 1);
    let open = platter.pieces.len();
    let early = open.saturating_sub(most);
    counts.open_most = counts.open_most.max(open as u64);
    counts.bounded += u64::from(early > 0);
    for early_kept in if early > 0 { &[true, false][..] } else { &[true] } {
        for set in 0u64..1 << (open - early) {
            let mut disk = platter
                .after(|piece| if piece < early { *early_kept } else { set >> (piece - early) & 1 == 1 });
            counts.platters += 1;
            if !seen.is_new(&disk, &platter.names, told_number) {
                continue;
            }
            counts.recoveries += 1;
            let recovered = catch_unwind(AssertUnwindSafe(|| recovered(&mut disk, &told)));
            let recovered = recovered.unwrap_or_else(|_| Err("assertion: it panics".into()));
            counts.torn += u64::from(recovered.map_err(|seen| {
                let (last, pieces) = (&node.disk.ops[upto - 1], &platter.pieces);
                format!("{seen}; power cut after operation {upto} ({last:?}), kept {set:b} (and {early_kept} of {early} before) of {pieces:?}")
            })?);
        }
    }
    Ok(())
}

/// Recovers, and holds against the site what it had told. Says whether a torn write was cut off.
fn recovered(disk: &mut MemoryDisk, told: &Told) -> Result<bool, String> {
    let opened =
        Site::open(config(WATCHED), Entropy { actor: [9; 16] }, SimNotary::of(WATCHED, 2), time(0, 0), disk);
    let (mut site, recovery) = opened.map_err(|error| format!("I-05: the site does not start: {error}"))?;
    let (found, own) = (site.frontier(), JournalId::genesis(WATCHED));
    let held = |journal| found.get(journal).copied().unwrap_or(0);
    if held(&own) < told.acknowledged {
        return Err(format!("I-02: {} were acknowledged, {} are there", told.acknowledged, held(&own)));
    }
    if let Some((journal, next)) = told.held.iter().find(|(journal, next)| held(journal) < **next) {
        return Err(format!(
            "I-14: said to hold {journal} up to {next}, but only {} are there",
            held(journal)
        ));
    }
    for ((topic, partition), (end, digest)) in &told.shown {
        let now = site.extent(*topic, *partition, Reading::Merged).end;
        if now < *end || site.digest(disk, *topic, *partition, *end).as_ref() != Ok(digest) {
            return Err(format!(
                "I-20: {partition} was readable up to {end}, and is up to {now}, or is another"
            ));
        }
    }
    match next_stamp(&mut site, disk) {
        Some(stamp) if stamp <= told.stamp => {
            Err(format!("I-22: {} was promised, and {stamp} is stamped", told.stamp))
        }
        Some(_) => Ok(recovery.truncated.is_some()),
        None => Err("I-46: it takes no writes any more".into()),
    }
}

/// What the site stamps next, its wall clock having gone back to the beginning.
fn next_stamp(site: &mut Site, disk: &mut MemoryDisk) -> Option<Stamp> {
    let request = Request::CreateTopic { name: "next".into(), partitions: 1, settings: BTreeMap::new() };
    let mut events = vec![Event::Request { ticket: Ticket(1), request: request.clone() }];
    for second in 0..12 {
        let mut actions = Vec::new();
        site.handle(
            time(second * 1_000_000, second * 1_000),
            std::mem::take(&mut events),
            disk,
            &mut actions,
        );
        for action in actions {
            match action {
                Action::Write(write) => {
                    let flight = Flight::of(&write)?;
                    let own = flight.records.iter().filter_map(truth::entry);
                    let own = own.filter(|entry| Some(entry.head.journal) == site.identity().journal());
                    if let Some(entry) = own.last() {
                        return Some(entry.head.stamp);
                    }
                    write.carry_out(disk).ok()?;
                    events.push(Event::Written { id: write.id });
                }
                // It had just started: asked again.
                Action::Reply { answer: Err(_), .. } => {
                    events.push(Event::Request { ticket: Ticket(1), request: request.clone() });
                }
                _ => {}
            }
        }
    }
    None
}

/// A short life; says how many operations it took to found the watched site.
fn life(rounds: u64) -> (Pair, usize) {
    let mut pair = Pair::new();
    let founding = pair.watched().disk.ops.len();
    let orders = TopicId::derive(config(WATCHED).cluster, "orders", 0);
    let settle = |pair: &mut Pair, turns: u32| (0..turns).for_each(|_| pair.turn());
    settle(&mut pair, 20);
    let settings = BTreeMap::new();
    pair.ask(false, Request::CreateTopic { name: "orders".into(), partitions: 2, settings });
    settle(&mut pair, 60);
    for round in 0..rounds {
        for number in 0..3 {
            let padding = [0, 60, 1_800][((round + number) % 3) as usize];
            pair.ask(number == 1, append(orders, round * 3 + number, padding));
        }
        if round % 3 == 1 {
            let positions = vec![(orders, 0, round, "here".to_owned())];
            pair.ask(false, Request::Commit(Commit { group: "group".into(), positions }));
        }
        if round % 5 == 2 {
            let partitions = 2 + (round / 5) as u32 + 1;
            pair.ask(false, Request::GrowTopic { name: "orders".into(), partitions });
        }
        settle(&mut pair, 14);
    }
    settle(&mut pair, 60);
    (pair, founding)
}

fn append(topic: TopicId, number: u64, padding: usize) -> Request {
    let mut builder = Builder::new();
    let value = Bytes::from(format!("{number}.{}", "x".repeat(padding)));
    builder.push(&NewRecord::value(1_790_000_000_000, value));
    let partition = (number % 2) as u32;
    let (records, acknowledge) = (builder.build(), Acknowledge::Local);
    Request::Append(Append { topic, partition, records, acknowledge, patience_ms: 0 })
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts { operations, bounded, open_most, platters, recoveries, torn } = self;
        write!(
            f,
            "power cut after each of {operations} operations: {platters} platters, of which {recoveries} differ and were \
             recovered from, {torn} of them with a torn write; {bounded} operations left more writes open than every set is tried of, {open_most} at most"
        )
    }
}
