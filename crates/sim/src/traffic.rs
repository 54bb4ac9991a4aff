//! Clients and sites meet: requests on their way there, answers on their way back, and patience.

use entry::SiteId;
use site::{Answer, Event, Refusal, Request, Ticket};

use crate::checkers::{Verdict, ensure};
use crate::client::Allowed;
use crate::swarm::Kind;
use crate::world::{Ticketed, What, World};

/// For how long a machine must have been let alone before it owes an answer in time, in microseconds.
const UNTROUBLED_US: u64 = 8_000_000;
/// How many batches a client sends at a time, and how many in a flood: from, and less than.
const USUAL: (u64, u64) = (1, 4);
const FLOOD: (u64, u64) = (8, 20);
/// How long a client waits for an answer, in microseconds.
const PATIENCE_US: u64 = 4_000_000;

impl World {
    /// A client looks at what it waits for.
    pub(crate) fn wake(&mut self, number: usize) -> Verdict {
        let now_us = self.now_us;
        let sites = self.known();
        let swarm = &self.swarm;
        let allowed = Allowed {
            deletes: swarm.deletes,
            bounded: swarm.bounded,
            compacted: swarm.compacted,
            kept: swarm.kept,
            floods: swarm.bounds.is_some(),
            roams: swarm.kinds.contains(&Kind::Behind),
            at_once: if self.now_us < self.floods_until_us { FLOOD } else { USUAL },
            sites,
        };
        let client = &mut self.clients[number];
        let late = client.open.iter().any(|open| open.ticket.is_some() && open.until_us <= now_us);
        if late {
            self.available(number)?;
            let client = &mut self.clients[number];
            let tickets: Vec<u64> = client.open.iter().filter_map(|open| open.ticket).collect();
            client.timed_out(allowed.sites);
            for ticket in tickets {
                self.tickets.remove(&ticket);
            }
            if self.calm {
                self.find_somebody(number);
            }
        }
        let client = &mut self.clients[number];
        if client.open.is_empty() && !self.calm {
            let process = self.hosts.get(&client.at).and_then(|host| host.process.as_ref());
            match process {
                Some(process) => client.think(&process.site, &mut self.checkers, allowed),
                None => client.move_on(sites),
            }
        }
        self.send_open(number);
        let rest_us = match self.calm {
            true => 50_000,
            false if self.now_us < self.floods_until_us => 2_000,
            false => self.swarm.rest_us,
        };
        let in_us = self.clients[number].rng.between(rest_us / 4 + 1, rest_us + 2);
        self.at(in_us, What::Client(number));
        Ok(())
    }

    /// Where nobody listens a client goes on to the next address, as one whose connection is refused. While faults strike it
    /// waits there; in the end, with sites that are gone for good, chance alone could lead it to no other.
    fn find_somebody(&mut self, number: usize) {
        let runs = |site: &SiteId| self.hosts.get(site).is_some_and(|host| host.process.is_some());
        let (sites, at) = (self.known(), self.clients[number].at.0);
        let mut around = (at..=sites).chain(1..at).map(SiteId);
        if let Some(site) = around.find(runs) {
            self.clients[number].at = site;
        }
    }

    /// I-46: a site that nothing troubles acknowledges local writes in time, whatever the others do.
    fn available(&self, number: usize) -> Verdict {
        for open in &self.clients[number].open {
            let Some(ticketed) = open.ticket.and_then(|ticket| self.tickets.get(&ticket)) else { continue };
            let Some((site, life)) = ticketed.at else { continue };
            let is_local = matches!(&ticketed.asked.request, Request::Append(append)
                if append.acknowledge == site::Acknowledge::Local);
            let Some(host) = self.hosts.get(&site).filter(|host| host.life == life && is_local) else {
                continue;
            };
            let calm = host.troubled_us + UNTROUBLED_US < self.now_us && open.until_us <= self.now_us;
            let writes = host.process.as_ref().is_some_and(|process| process.site.is_writing());
            ensure(!(calm && writes), "I-46", || {
                format!(
                    "site {site} has let a local write wait for {} ms, and nothing troubles it",
                    PATIENCE_US / 1000
                )
            })?;
        }
        Ok(())
    }

    /// Sends what a client waits for and has not asked, unless something before it has no answer yet elsewhere.
    fn send_open(&mut self, number: usize) {
        let now_us = self.now_us;
        let client = &mut self.clients[number];
        // Asked again as a whole: what is behind a refusal is on its way back, too.
        if client.open.iter().any(|open| open.ticket.is_some()) {
            return;
        }
        let site = client.at;
        let mut in_us = client.rng.below(1_000);
        let mut asks = Vec::new();
        for open in &mut client.open {
            let ticket = self.next_ticket;
            self.next_ticket += 1;
            open.ticket = Some(ticket);
            open.until_us = now_us + PATIENCE_US;
            asks.push((in_us, ticket, open.asked.clone()));
            in_us += 1 + client.rng.below(200);
        }
        for (in_us, ticket, asked) in asks {
            self.tickets.insert(ticket, Ticketed { client: number, asked, at: None });
            self.at(in_us, What::Ask { ticket, site });
        }
    }

    /// A request arrives at a site.
    pub(crate) fn ask(&mut self, ticket: u64, site: SiteId) -> Verdict {
        let Some(host) = self.hosts.get(&site) else { return Ok(()) };
        let (life, runs) = (host.life, host.process.is_some());
        let Some(ticketed) = self.tickets.get_mut(&ticket).filter(|_| runs) else { return Ok(()) };
        ticketed.at = Some((site, life));
        if let (Request::Append(append), Some(process)) = (&ticketed.asked.request, &host.process)
            && append.acknowledge == site::Acknowledge::All
            && let Some(topic) = process.site.topic(append.topic)
        {
            ticketed.asked.sites = usize::from(topic.settings.min_insync_sites).max(1);
        }
        if let Some(process) = &host.process {
            ticketed.ask_for_less(&process.site);
        }
        if let (Request::Commit(commit), Some(process)) = (&ticketed.asked.request, &host.process) {
            let stands = |(topic, partition, ..): &(_, _, u64, String)| {
                let position = process.site.position(&commit.group, *topic, *partition)?;
                Some((position.progress.epoch(), position.progress.committed()))
            };
            ticketed.asked.stood = commit.positions.iter().map(stands).collect();
        }
        let request = ticketed.asked.request.clone();
        if let (Request::DeleteTopic { name }, Some(process)) = (&request, &host.process) {
            let named = process.site.topics().filter(|topic| topic.name == *name);
            named.for_each(|topic| self.checkers.submissions.doom(topic.id));
        }
        self.feed(site, Event::Request { ticket: Ticket(ticket), request })
    }

    /// An answer arrives at a client.
    pub(crate) fn answered(&mut self, client: usize, ticket: u64, answer: &Result<Answer, Refusal>) {
        let sites = self.known();
        self.clients[client].answered(ticket, answer, sites);
    }
}
