//! What an operator reads before, and after, a decision to go on without sites that no majority could fence.

use std::io::{self, IsTerminal as _, Write as _};

use admin::{GivenUp, SiteStatus};

use crate::output::span;

/// Says what is at stake, and asks for the names once more.
pub(super) fn confirm(status: &SiteStatus, sites: &[String]) -> anyhow::Result<()> {
    let mut out = io::stderr().lock();
    out.write_all(at_stake(status, sites).as_bytes())?;
    if !io::stdin().is_terminal() {
        anyhow::bail!("nothing was decided: nobody can be asked here; --yes decides it");
    }
    write!(out, "\nTo decide this, type {}: ", sites.join(" "))?;
    out.flush()?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    anyhow::ensure!(answer.split_whitespace().eq(sites.iter().map(String::as_str)), "nothing was decided");
    Ok(())
}

fn at_stake(status: &SiteStatus, sites: &[String]) -> String {
    let lost = sites.join(", ");
    let remain: Vec<&str> =
        status.members.iter().filter(|site| !sites.contains(site)).map(String::as_str).collect();
    let remain = remain.join(", ");
    let mut text = format!(
        "{remain} will go on without {lost}, although no majority of the members can agree on it.\n\n"
    );
    let cut =
        status.journals.iter().filter(|journal| sites.contains(&journal.site) && journal.fenced_at.is_none());
    for journal in cut {
        let (name, held) = (&journal.journal, journal.held);
        text.push_str(&format!(
            "  journal {name} will end before entry {held} (unless another that remains holds more)\n"
        ));
    }
    text.push_str(&format!(
        "\nWhat only {lost} held beyond that cannot be read until a disk of it is back: then it comes in, once.\n\
         Both halves must never be forced. If {lost} runs somewhere, out of reach of {remain}, it takes writes and may be \
         forced in turn: then there are two histories that cannot be one, and one of them has to be thrown away.\n"
    ));
    if 2 * sites.len() > status.members.len() {
        text.push_str(&format!(
            "{lost} were a majority: they may have shown readers records that are nowhere else, and may be going on by \
             themselves. If they have, their directories cannot come back, only empty ones.\n"
        ));
    }
    text
}

/// What has come of it.
pub(super) fn done(status: &SiteStatus, sites: &[String]) -> String {
    let mut text = format!("members {}: {}\n", status.epoch, status.members.join(", "));
    for journal in status.journals.iter().filter(|journal| sites.contains(&journal.site)) {
        if let Some(next) = journal.fenced_at {
            text.push_str(&format!("journal {} ends before entry {next}\n", journal.journal));
        }
    }
    let back = sites.join(", ");
    text.push_str(&format!("should {back} come back, `meridian site add` makes it a member again\n"));
    text
}

/// A decision, in a line of a site's status.
pub(super) fn record(record: &GivenUp) -> String {
    let GivenUp { site, epoch, by, who, .. } = record;
    let held: Vec<String> =
        record.held.iter().map(|(journal, next)| format!("{journal} up to {next}")).collect();
    let back = if record.stands { "" } else { "; it was added again" };
    let (ago, held) = (span(record.for_ms), held.join(", "));
    format!("given up      {site}, by {who} at {by} {ago} ago, as of members {epoch}; {by} held {held}{back}")
}

#[cfg(test)]
mod tests {
    use super::record;
    use admin::GivenUp;

    #[test]
    fn a_decision_is_told_with_who_when_and_where() {
        let given_up = GivenUp {
            site: "us-east".to_owned(),
            epoch: 1,
            by: "eu-west".to_owned(),
            who: "eve".to_owned(),
            at_ms: 0,
            for_ms: 61_000,
            held: [("us-east.0".to_owned(), 7)].into(),
            stands: true,
        };
        let told = "given up      us-east, by eve at eu-west 1 min 1 s ago, as of members 1; eu-west held us-east.0 up to 7";
        assert_eq!(record(&given_up), told);
        let back = record(&GivenUp { stands: false, ..given_up });
        assert_eq!(back, format!("{told}; it was added again"));
    }
}
