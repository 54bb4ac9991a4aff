//! What happens to sites beside faults: records are deleted, a disk runs low and has room again, clients write more than
//! fits, and one site after the other is restarted on the next version, or goes back to the one before.

use entry::SiteId;
use site::wire::PROTOCOL;
use site::{Event, Reading, Request, Ticket};

use crate::checkers::Verdict;
use crate::host::RESERVE_BYTES;
use crate::swarm::Kind;
use crate::world::{What, World};

/// Room on a disk that is low, for what sites say to each other.
const LOW_BYTES: u64 = 1 << 20;

impl World {
    /// It is a site's turn.
    pub(crate) fn tend(&mut self, kind: Kind, site: SiteId, for_us: u64) -> Verdict {
        match kind {
            Kind::Retain => self.delete_records(site),
            Kind::Low => self.run_low(site, 2 * for_us),
            Kind::Upgrade => self.upgrade(site),
            _ => {
                self.floods_until_us = self.now_us + for_us;
                Ok(())
            }
        }
    }

    /// Somebody has records deleted, up to any offset of any log.
    fn delete_records(&mut self, site: SiteId) -> Verdict {
        let Some(process) = self.hosts.get(&site).and_then(|host| host.process.as_ref()) else {
            return Ok(());
        };
        let topics: Vec<_> = process.site.topics().map(|topic| (topic.id, topic.partitions)).collect();
        if topics.is_empty() {
            return Ok(());
        }
        let (topic, partitions) = *self.dice.operator.pick(&topics);
        let partition = u32::try_from(self.dice.operator.below(u64::from(partitions))).unwrap_or(0);
        let end = process.site.extent(topic, partition, Reading::Merged).end;
        let before = self.dice.operator.below(end + 2);
        let request = Request::DeleteRecords { topic, partition, before };
        self.feed(site, Event::Request { ticket: Ticket(u64::MAX), request })
    }

    /// A disk is low for a while.
    fn run_low(&mut self, site: SiteId, for_us: u64) -> Verdict {
        let until_us = self.now_us + for_us;
        let Some(host) = self.hosts.get_mut(&site) else { return Ok(()) };
        host.disk.capacity_bytes = host.disk.used_bytes() + RESERVE_BYTES + LOW_BYTES;
        let is_news = host.low.is_none();
        let low = host.low.get_or_insert_default();
        low.until_us = low.until_us.max(until_us);
        self.at(for_us, What::RoomAgain(site));
        if is_news { self.feed(site, Event::DiskLow(true)) } else { Ok(()) }
    }

    /// A disk that was low has room again, if it is time.
    pub(crate) fn room_again(&mut self, site: SiteId) -> Verdict {
        let (now_us, calm, witness) = (self.now_us, self.calm, self.witness());
        let Some(host) = self.hosts.get_mut(&site) else { return Ok(()) };
        let Some(low) = host.low.take_if(|low| calm || low.until_us <= now_us) else { return Ok(()) };
        host.disk.capacity_bytes = u64::MAX;
        // The witness has nothing to note while nobody asks it.
        if Some(site) != witness {
            low.ends(site, host.troubled_us, now_us)?;
        }
        self.feed(site, Event::DiskLow(false))
    }

    /// A site is restarted on the other version.
    fn upgrade(&mut self, site: SiteId) -> Verdict {
        let (back, kindly) = (self.dice.operator.chance(400), self.dice.operator.chance(500));
        let Some(host) = self.hosts.get_mut(&site) else { return Ok(()) };
        let protocol = &mut host.config.protocol;
        match *protocol < PROTOCOL {
            true => *protocol = PROTOCOL,
            false if back => *protocol = PROTOCOL - 1,
            false => return Ok(()),
        }
        let protocol = *protocol;
        self.trace.line(self.now_us, Some(site), || format!("is to speak protocol {protocol}"));
        if kindly { self.feed(site, Event::Stop) } else { self.kill(site, "is stopped for another version") }
    }
}
