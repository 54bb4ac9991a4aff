//! I-16: when faults end, all sites come to hold the same: frontiers, topics, positions, merged logs.

use std::collections::BTreeMap;

use disk::Disk;
use entry::JournalId;
use site::{Reading, Site};

use super::{Verdict, broken, ensure};

/// Nothing moves any more.
pub(super) fn settled(sites: &[&Site]) -> Verdict {
    let Some(first) = sites.first() else { return Ok(()) };
    for site in sites {
        let id = site.identity().site;
        if site.members().contains(&id) && !site.is_writing() {
            return broken("I-16", format!("site {id} takes no writes: {:?}", site.status(0).not_writing));
        }
        if site.frontier() != first.frontier() {
            return broken(
                "I-16",
                format!("site {id} holds {:?}, not {:?}", site.frontier(), first.frontier()),
            );
        }
        if site.released() != first.released() {
            return broken(
                "I-16",
                format!(
                    "site {id} has released {}, not {}; blocker {:?}",
                    site.released(),
                    first.released(),
                    site.status(0).blocker
                ),
            );
        }
        // Of one that is dead for good, what it wrote last may be missing: its later lives are shown once it is removed.
        let runs = |journal: &JournalId| sites.iter().any(|site| site.identity().site == journal.site);
        if let Some(hidden) = site.hidden_lives().find(runs) {
            return broken("I-16", format!("site {id} does not show what journal {hidden} holds"));
        }
        let held: u64 = site.frontier().values().sum();
        if site.released() != held {
            let status = site.status(0);
            return broken(
                "I-16",
                format!(
                    "site {id} has released {} of {held}; blocker {:?}; alarms {:?}",
                    site.released(),
                    status.blocker,
                    status.alarms
                ),
            );
        }
    }
    Ok(())
}

/// All sites hold the same.
pub(super) fn equal(sites: &[(&Site, &dyn Disk)]) -> Verdict {
    let Some(((first, first_disk), rest)) = sites.split_first() else { return Ok(()) };
    let topics: Vec<_> = first.topics().cloned().collect();
    for (site, disk) in rest {
        let id = site.identity().site;
        let theirs: Vec<_> = site.topics().cloned().collect();
        ensure(theirs == topics, "I-16", || format!("site {id} has topics {theirs:?}, not {topics:?}"))?;
        for topic in &topics {
            for partition in 0..topic.partitions {
                let (ours, end) = (
                    site.extent(topic.id, partition, Reading::Merged),
                    first.extent(topic.id, partition, Reading::Merged),
                );
                ensure(ours == end, "I-16", || {
                    format!("site {id} has {}-{partition} at {ours:?}, not {end:?}", topic.name)
                })?;
                let here = site.digest(*disk, topic.id, partition, end.end);
                let there = first.digest(*first_disk, topic.id, partition, end.end);
                ensure(here.is_ok() && here == there, "I-18", || {
                    format!("digests of {}-{partition} at {}: {here:?} and {there:?}", topic.name, end.end)
                })?;
            }
        }
        let (here, there) = (positions(site), positions(first));
        ensure(here == there, "I-16", || format!("site {id} has positions {here:?}, not {there:?}"))?;
    }
    Ok(())
}

fn positions(site: &Site) -> BTreeMap<String, Vec<String>> {
    let of = |group: &str| site.positions_of(group).map(|it| format!("{it:?}")).collect();
    site.groups().map(|group| (group.to_owned(), of(group))).collect()
}
