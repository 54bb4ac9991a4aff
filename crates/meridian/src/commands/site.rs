//! `site`: where sites stand.

use std::time::{Duration, Instant};

use admin::client::{self, Address};
use admin::{CopyProgress, MembersNow, PeerStatus, SiteStatus};
use clap::{Args, Subcommand};
use serde_json::json;

use crate::connect::Ask;
use crate::output::{self, Output, size, span};
use crate::table::{Lean, Listing, Table};

mod forced;

/// What to show of sites.
#[derive(Debug, Subcommand)]
pub(crate) enum Site {
    /// List the sites that clients are told of
    List(Ask),
    /// Show where one site stands: frontiers, lag, what holds the order back
    Status(Status),
    /// Stop a site cleanly
    Stop(Where),
    /// Say that a site's wall clock, which jumped ahead, is right: it takes writes again
    AcceptClock(Where),
    /// Fence a silent site now: its journal ends where a majority agrees, and the merged log goes on without it. Where no
    /// majority is left, --forced decides without one
    Fence(Fence),
    /// Make a known site a member: it must run and hold what the others hold
    Add(Change),
    /// Let a site be a member no more, for good: its journal must have left the order (stop or fence it first)
    Remove(Removal),
}

/// Which site.
#[derive(Debug, Args)]
pub(crate) struct Where {
    /// The site's admin API: its data directory, the admin.sock in it, or http://HOST:PORT of its listen.http
    #[arg(long, env = "MERIDIAN_ADMIN", value_name = "PATH|URL")]
    pub(super) admin: String,
}

/// One of them.
#[derive(Debug, Args)]
pub(crate) struct Status {
    #[command(flatten)]
    place: Where,
    #[command(flatten)]
    output: Output,
    /// Show it again and again, every so many seconds
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "1")]
    watch: Option<u64>,
}

/// Whom, and whom to ask.
#[derive(Debug, Args)]
pub(crate) struct Fence {
    /// The silent site's name; with --forced all that are lost
    #[arg(required = true)]
    sites: Vec<String>,
    #[command(flatten)]
    place: Where,
    /// Decide alone that the sites asked here go on without these: where one of two, or a majority, is lost for good
    #[arg(long)]
    forced: bool,
    /// Do not ask again
    #[arg(long, requires = "forced")]
    yes: bool,
    /// Who decides: kept with the decision
    #[arg(long, env = "USER", value_name = "NAME", default_value = "an operator without a name")]
    who: String,
}

/// Whom to add, and whom to ask.
#[derive(Debug, Args)]
pub(crate) struct Change {
    /// The site's name; the configuration of all members must list it
    site: String,
    #[command(flatten)]
    place: Where,
    #[command(flatten)]
    output: Output,
}

/// Whom to remove, and whom to ask.
#[derive(Debug, Args)]
pub(crate) struct Removal {
    #[command(flatten)]
    change: Change,
    /// Fence it first, if its journal has not ended: for a site that is gone
    #[arg(long)]
    fence: bool,
}

impl Site {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        match self {
            Site::List(ask) => Box::pin(list(ask)).await,
            Site::Status(status) => status.run().await,
            Site::Stop(place) => {
                client::stop(&Address::parse(&place.admin)).await?;
                output::line("stopping")
            }
            Site::AcceptClock(place) => {
                let jump_ms = client::accept_clock(&Address::parse(&place.admin)).await?;
                output::line(&format!("accepted: the clock was set {} ahead", span(jump_ms)))
            }
            Site::Fence(fence) => fence.run().await,
            Site::Add(change) => {
                let now = client::add(&Address::parse(&change.place.admin), &change.site).await?;
                change.show(&now, "a member")
            }
            Site::Remove(removal) => removal.run().await,
        }
    }
}

async fn list(ask: Ask) -> anyhow::Result<()> {
    let cluster = ask.connect.client().await?.describe_cluster().await?;
    let name = |broker: &::client::Broker| broker.rack.clone().unwrap_or_default();
    let head = [("SITE", Lean::Left), ("ID", Lean::Right), ("KAFKA", Lean::Left)];
    let sites = Listing::of(&head, &cluster.brokers, |broker| {
        let value = json!({ "site": name(broker), "id": broker.id, "kafka": broker.address });
        (value, [name(broker), broker.id.to_string(), broker.address.clone()])
    });
    ask.output.show(&json!({ "cluster": cluster.id, "sites": sites.values }), || {
        format!("cluster {}\n\n{}", cluster.id, sites.table)
    })
}

impl Change {
    fn show(&self, now: &MembersNow, what: &str) -> anyhow::Result<()> {
        let members = now.members.join(", ");
        self.output
            .show(now, || format!("{} is {what} from here on; members {}: {members}\n", self.site, now.epoch))
    }
}

impl Removal {
    async fn run(self) -> anyhow::Result<()> {
        let address = Address::parse(&self.change.place.admin);
        if self.fence {
            let status = client::status(&address).await?;
            let is_open = |journal: &admin::JournalStatus| {
                journal.site == self.change.site && journal.fenced_at.is_none()
            };
            if status.journals.iter().any(is_open) {
                fence(&address, &self.change.site).await?;
            }
        }
        let began = Instant::now();
        loop {
            match client::remove(&address, &self.change.site).await {
                Ok(now) => return self.change.show(&now, "no member"),
                // A fence is known before it has its place in the order.
                Err(_) if self.fence && began.elapsed() < FENCE_PATIENCE => {
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// How long a fence is waited for; it goes on by itself after that.
const FENCE_PATIENCE: Duration = Duration::from_secs(30);

impl Fence {
    async fn run(self) -> anyhow::Result<()> {
        let address = Address::parse(&self.place.admin);
        if self.forced {
            return self.force(&address).await;
        }
        for site in &self.sites {
            let ended = fence(&address, site).await?;
            let (journal, next) = (&ended.journal, ended.fenced_at.unwrap_or_default());
            output::line(&format!(
                "{site} is fenced: journal {journal} ends before entry {next}; what lies beyond comes in when it is back"
            ))?;
        }
        Ok(())
    }

    async fn force(&self, address: &Address) -> anyhow::Result<()> {
        let status = client::status(address).await?;
        if !self.yes {
            forced::confirm(&status, &self.sites)?;
        }
        client::give_up(address, &self.sites, &self.who).await?;
        let began = Instant::now();
        while began.elapsed() < FENCE_PATIENCE {
            let now = client::status(address).await?;
            if !self.sites.iter().any(|site| now.members.contains(site)) {
                return output::print(&forced::done(&now, &self.sites));
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        anyhow::bail!(
            "that is decided, and noted, but not carried out yet: all sites that remain must be reachable and hold what the \
             others hold; they go on trying, and `meridian site status` shows what they wait for"
        )
    }
}

/// Has a site fenced, and waits until it is. Returns its journal.
async fn fence(address: &Address, site: &str) -> anyhow::Result<admin::JournalStatus> {
    let open = |status: &SiteStatus| {
        let of_it = status.journals.iter().filter(|journal| journal.site == site);
        of_it.filter(|journal| journal.fenced_at.is_none()).map(|journal| journal.journal.clone()).collect()
    };
    let before: Vec<String> = open(&client::status(address).await?);
    client::fence(address, site).await?;
    let began = Instant::now();
    while began.elapsed() < FENCE_PATIENCE {
        let status = client::status(address).await?;
        let fenced =
            |journal: &admin::JournalStatus| before.contains(&journal.journal) && journal.fenced_at.is_some();
        if let Some(journal) = status.journals.into_iter().find(fenced) {
            return Ok(journal);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    anyhow::bail!(
        "{site} is not fenced yet: a majority of the sites must be reachable and hold what it wrote; they go on trying. Where no \
         majority is left, --forced decides without one"
    )
}

impl Status {
    async fn run(self) -> anyhow::Result<()> {
        let address = Address::parse(&self.place.admin);
        loop {
            let status = client::status(&address).await?;
            if self.watch.is_some() && !self.output.json {
                // Back to the top left, and nothing below.
                output::print("\x1b[H\x1b[2J")?;
            }
            self.output.show(&status, || text(&status))?;
            match self.watch {
                Some(seconds) => tokio::time::sleep(Duration::from_secs(seconds.max(1))).await,
                None => return Ok(()),
            }
        }
    }
}

fn text(status: &SiteStatus) -> String {
    let mut parts = vec![summary(status), journals(status).to_string()];
    if status.frontiers.len() > 1 {
        parts.push(format!("next entry held, by site\n{}", frontiers(status)));
    }
    if !status.peers.is_empty() {
        parts.push(peers(&status.peers).to_string());
    }
    let mut text = parts.join("\n");
    for alarm in &status.alarms {
        text.push_str(&format!("\nALARM: {alarm}\n"));
    }
    text
}

fn summary(status: &SiteStatus) -> String {
    let mut lines = vec![format!(
        "{} (id {}), cluster {}, storage {}",
        status.site, status.id, status.cluster, status.storage
    )];
    let writes = match (&status.halt.halted, &status.halt.not_writing) {
        (Some(reason), _) => format!("halted: {reason}"),
        (None, Some(reason)) => format!("not now: {reason}"),
        (None, None) => "taken".to_owned(),
    };
    lines.push(format!("writes        {writes}"));
    if status.halt.unconfirmed {
        lines.push("              went on without having heard all other sites".to_owned());
    }
    if status.halt.waits_for_opening {
        lines.push("              its return waits to be ordered".to_owned());
    }
    let besides = match &status.others_known[..] {
        [] => String::new(),
        known => format!("; known, but no members: {}", known.join(", ")),
    };
    // The witness does not follow who comes and goes.
    if status.witness.as_ref().is_none_or(|witness| witness.site != status.site) {
        lines.push(format!("members {:<6}{}{besides}", status.epoch, status.members.join(", ")));
    }
    lines.extend(status.witness.iter().map(|witness| match &witness.lacks {
        None => format!("witness       {}: it votes where the others cannot agree", witness.site),
        Some(why) => format!("witness       {}: it does not vote now: {why}", witness.site),
    }));
    lines.extend(status.given_up.iter().map(forced::record));
    lines.push(format!("alive         {}", status.alive.join(", ")));
    lines.push(match status.unreleased {
        0 => "reading       up to date: nothing waits for its place".to_owned(),
        n => {
            let waiting = if n == 1 { "1 entry waits".to_owned() } else { format!("{n} entries wait") };
            format!("reading       {waiting}; the stable point is {} behind", span(status.stable_lag_ms))
        }
    });
    lines.push(format!("released      {} entries", status.released));
    if let Some(blocker) = &status.blocker {
        let (site, why, time) = (&blocker.site, &blocker.why, span(blocker.for_ms));
        lines.push(format!("held back by  {site}, for {time}: {why}"));
    }
    let kept_for = match &status.wal_kept_for[..] {
        [] => String::new(),
        sites => format!(", kept for {} up to {}", sites.join(", "), size(status.wal_bytes_max)),
    };
    lines.push(format!("WAL           {}{kept_for}", size(status.wal_bytes)));
    if let Some(copy) = &status.copy {
        lines.push(format!("copy          {}", progress(copy)));
    }
    for (topic, only) in &status.unreplicated {
        let (bytes, age) = (size(only.bytes), span(only.age_ms));
        let held_back = match only.held_back {
            0 => String::new(),
            n => format!("; {n} writes are held back"),
        };
        lines.push(format!("only here     {topic}: {bytes}, the first of it {age} old{held_back}"));
    }
    let passed: Vec<String> =
        status.passed_over.iter().filter(|(_, n)| **n > 0).map(|(why, n)| format!("{n} {why}")).collect();
    if !passed.is_empty() {
        lines.push(format!("passed over   {}", passed.join(", ")));
    }
    format!("{}\n", lines.join("\n"))
}

fn progress(copy: &CopyProgress) -> String {
    let Some(from) = &copy.from else { return "asking who has one".to_owned() };
    let CopyProgress { files, files_done, bytes, bytes_done, .. } = copy;
    let percent = bytes_done * 100 / bytes.max(&1);
    let (done, all) = (size(*bytes_done), size(*bytes));
    format!("{percent} % from {from}: {done} of {all}, {files_done} of {files} files verified")
}

fn journals(status: &SiteStatus) -> Table {
    let head = [
        ("JOURNAL", Lean::Left),
        ("KNOWN", Lean::Right),
        ("HELD", Lean::Right),
        ("RELEASED", Lean::Right),
        ("LAG", Lean::Right),
        ("LAG BYTES", Lean::Right),
        ("PROMISE BEHIND", Lean::Right),
        ("", Lean::Left),
    ];
    let mut table = Table::new(&head);
    for journal in &status.journals {
        let note = match (journal.quarantined, journal.fenced_at) {
            (true, _) => "quarantined".to_owned(),
            (false, Some(next)) => format!("fenced at {next}"),
            (false, None) => String::new(),
        };
        let numbers =
            [journal.known, journal.held, journal.released, journal.lag_entries()].map(|n| n.to_string());
        let bytes = match journal.lag_bytes {
            Some(0) => size(0),
            Some(bytes) => format!("~{}", size(bytes)),
            None => "?".to_owned(),
        };
        let rest = [bytes, span(journal.promise_lag_ms), note];
        table.row([journal.journal.clone()].into_iter().chain(numbers).chain(rest));
    }
    table
}

fn frontiers(status: &SiteStatus) -> String {
    let mut table = Table::new(&[("SITE", Lean::Left), ("HOLDS", Lean::Left)]);
    for (site, held) in &status.frontiers {
        let held: Vec<String> = held.iter().map(|(journal, next)| format!("{journal} {next}")).collect();
        table.row([site.clone(), held.join(", ")]);
    }
    table.to_string()
}

fn peers(peers: &[PeerStatus]) -> Table {
    let head = [
        ("PEER", Lean::Left),
        ("LINK", Lean::Left),
        ("RTT ms", Lean::Right),
        ("LOST", Lean::Right),
        ("WINDOW", Lean::Right),
        ("QUEUED", Lean::Right),
        ("SENT", Lean::Right),
        ("RECEIVED", Lean::Right),
    ];
    let mut table = Table::new(&head);
    for peer in peers {
        let link = if peer.up { "up" } else { "down" };
        let rtt = format!("{:.1}", peer.rtt_us as f64 / 1e3);
        let sizes = [peer.window_bytes, peer.queued_bytes, peer.sent_bytes, peer.received_bytes].map(size);
        let start = [peer.site.clone(), link.to_owned(), rtt, peer.lost_packets.to_string()];
        table.row(start.into_iter().chain(sizes));
    }
    table
}
