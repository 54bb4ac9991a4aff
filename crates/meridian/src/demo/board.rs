//! The live table: where every site stands, and who holds the order back.

use std::time::Duration;

use admin::SiteStatus;

use crate::demo::region::Region;
use crate::demo::screen::Screen;
use crate::demo::together::together;
use crate::output::span;
use crate::table::{Lean, Table};

/// How often the table is drawn.
const PAUSE: Duration = Duration::from_millis(100);
/// How long anything that the story waits for may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// One look at one site.
pub(crate) struct Look {
    pub(crate) status: SiteStatus,
    /// How many records of the topic are readable there.
    pub(crate) end: i64,
}

/// Looks at all sites.
pub(crate) async fn look(regions: &[Region], topic: &str) -> anyhow::Result<Vec<Look>> {
    let looks = regions.iter().map(|region| async move {
        Ok(Look { status: region.status().await?, end: region.end(topic).await? })
    });
    together(looks).await
}

/// Draws the table until the condition holds for what it shows.
pub(crate) async fn watch(
    screen: &mut Screen,
    regions: &[Region],
    topic: &str,
    what: &str,
    until: impl Fn(&[Look]) -> bool,
) -> anyhow::Result<Vec<Look>> {
    match tokio::time::timeout(PATIENCE, watching(screen, regions, topic, until)).await {
        Ok(outcome) => outcome,
        Err(_) => anyhow::bail!("waited {} s in vain until {what}", PATIENCE.as_secs()),
    }
}

/// As [`watch`], with all the time in the world.
pub(crate) async fn watching(
    screen: &mut Screen,
    regions: &[Region],
    topic: &str,
    until: impl Fn(&[Look]) -> bool,
) -> anyhow::Result<Vec<Look>> {
    loop {
        let looks = look(regions, topic).await?;
        screen.draw(&table(&looks, topic));
        if until(&looks) {
            return Ok(looks);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn table(looks: &[Look], topic: &str) -> String {
    let head = [
        ("SITE", Lean::Left),
        ("FRONTIER", Lean::Left),
        ("RELEASED", Lean::Right),
        ("WAITING", Lean::Right),
        ("STABLE POINT", Lean::Right),
        ("READABLE", Lean::Left),
        ("HELD BACK BY", Lean::Left),
    ];
    let mut table = Table::new(&head);
    for Look { status, end } in looks {
        let frontier: Vec<String> =
            looks.iter().map(|other| held(status, &other.status.site).to_string()).collect();
        // A site that has nothing to order does not ask for newer promises: how old they are says nothing then.
        let waits = status.unreleased > 0;
        let stable = if waits { format!("{} ago", span(status.stable_lag_ms)) } else { "-".to_owned() };
        let blocker = status.blocker.as_ref().filter(|_| waits);
        let blocker = blocker.map_or("-".to_owned(), |by| format!("{}, for {}", by.site, span(by.for_ms)));
        table.row([
            status.site.clone(),
            frontier.join(" "),
            status.released.to_string(),
            status.unreleased.to_string(),
            stable,
            format!("{topic} 0..{end}"),
            blocker,
        ]);
    }
    table.to_string()
}

/// Entries held of all journals of a site.
fn held(status: &SiteStatus, site: &str) -> u64 {
    status.journals.iter().filter(|journal| journal.site == site).map(|journal| journal.held).sum()
}
