//! What a run shows in the end: faults with their counts, classes with their findings, and how to repeat it.

use std::fmt::Write as _;

use history::{Class, History, Promises, Report};
use serde_json::json;

use crate::fault::Kind;
use crate::nemesis::Tally;

/// Findings of a class that are printed.
const SHOWN_MAX: usize = 4;

/// Everything that a run has to say.
pub(crate) struct Outcome<'o> {
    pub(crate) title: String,
    pub(crate) command: String,
    pub(crate) facts: Vec<String>,
    pub(crate) tally: &'o Tally,
    pub(crate) history: &'o History,
    pub(crate) report: &'o Report,
    pub(crate) promises: &'o Promises,
    pub(crate) misconduct: &'o [String],
}

impl Outcome<'_> {
    /// Findings that are not allowed, of classes and of conduct.
    pub(crate) fn broken(&self) -> u64 {
        let classes: u64 = self.report.broken(self.promises).map(|(_, verdict)| verdict.count).sum();
        classes + self.misconduct.len() as u64
    }

    /// For people.
    pub(crate) fn text(&self) -> String {
        let mut out = format!("{}\n\n", self.title);
        for fact in &self.facts {
            line(&mut out, fact);
        }
        self.faults(&mut out);
        self.classes(&mut out);
        self.figures(&mut out);
        self.findings(&mut out);
        let verdict = match self.broken() {
            0 => "nothing found".to_owned(),
            n => format!("{n} FINDINGS"),
        };
        line(&mut out, &format!("\n{verdict}. Again: {}", self.command));
        out
    }

    fn faults(&self, out: &mut String) {
        line(
            out,
            &format!("\n{:<16} {:>6} {:>9} {:>8}  what it is", "fault", "struck", "given up", "seconds"),
        );
        for (kind, toll) in self.tally {
            let (name, means) = (kind.name(), kind.means());
            let (struck, given_up, seconds) = (toll.struck, toll.given_up, toll.seconds);
            line(out, &format!("{name:<16} {struck:>6} {given_up:>9} {seconds:>8.0}  {means}"));
        }
        let never: Vec<&str> =
            Kind::ALL.into_iter().filter(|kind| !self.tally.contains_key(kind)).map(Kind::name).collect();
        if !never.is_empty() {
            line(out, &format!("not in this run: {}", never.join(", ")));
        }
    }

    fn classes(&self, out: &mut String) {
        line(out, &format!("\n{:<24} {:>8}  promised", "class", "found"));
        for class in Class::all() {
            let promised = if self.promises.allowed.contains(&class) { "allowed, counted" } else { "never" };
            line(out, &format!("{:<24} {:>8}  {promised}", class.to_string(), self.report.count(class)));
        }
    }

    fn figures(&self, out: &mut String) {
        let Report { calls, acked, unsure, refused, polled, .. } = self.report;
        let figures = [
            format!("\n{calls} calls: {acked} records acknowledged, {unsure} unsure, {refused} refused"),
            format!("{polled} records polled"),
        ];
        figures.iter().for_each(|figure| line(out, figure));
        let (late, turns) = (self.report.late, self.history.evidence.turns.len());
        line(
            out,
            &format!(
                "{turns} turns of journals; {} batches came late by adoption, {} by an opening",
                late.adopted, late.opened
            ),
        );
        for (group, counts) in &self.report.consumed {
            let counts: Vec<String> = counts.iter().map(|(often, n)| format!("{often}: {n}")).collect();
            line(out, &format!("group {group} polled acknowledged records so often: {}", counts.join(", ")));
        }
        for (site, lag) in &self.report.lag {
            let (p50, p99, max) = (lag.p50_ms, lag.p99_ms, lag.max_ms);
            line(
                out,
                &format!(
                    "polls at {site} were behind by at least p50 {p50:.0} ms, p99 {p99:.0} ms, max {max:.0} ms"
                ),
            );
        }
    }

    fn findings(&self, out: &mut String) {
        for said in self.misconduct {
            line(out, &format!("\nFOUND conduct: {said}"));
        }
        for (class, verdict) in self.report.broken(self.promises) {
            line(out, &format!("\nFOUND {class}, {} times:", verdict.count));
            for finding in verdict.findings.iter().take(SHOWN_MAX) {
                let log = finding.log.map(|log| self.history.logs[log.0 as usize].to_string());
                line(out, &format!("  {} {}", log.unwrap_or_default(), finding.said));
                for call in finding.calls.iter().take(6) {
                    line(out, &format!("    {}", self.call(*call)));
                }
            }
        }
    }

    fn call(&self, at: u32) -> String {
        let call = &self.history.calls[at as usize];
        let site = &self.history.sites[usize::from(call.site)];
        let (process, outcome, invoked) = (call.process, call.outcome, call.invoked_us);
        let took_ms = (call.completed_us < u64::MAX).then(|| (call.completed_us - invoked) / 1_000);
        let took = took_ms.map_or("no answer".to_owned(), |ms| format!("{ms} ms"));
        let (sent, polled) = (call.sent().len(), call.polled().len());
        format!(
            "process {process} of {site}, at {invoked} µs, {outcome:?} after {took}: {sent} sent, {polled} polled"
        )
    }

    /// For programs.
    pub(crate) fn json(&self) -> serde_json::Value {
        let faults: serde_json::Map<String, serde_json::Value> = self
            .tally
            .iter()
            .map(|(kind, toll)| {
                let figures =
                    json!({ "struck": toll.struck, "given_up": toll.given_up, "seconds": toll.seconds.round() });
                (kind.name().to_owned(), figures)
            })
            .collect();
        let classes: serde_json::Map<String, serde_json::Value> = Class::all()
            .into_iter()
            .map(|class| {
                let allowed = self.promises.allowed.contains(&class);
                (class.to_string(), json!({ "found": self.report.count(class), "allowed": allowed }))
            })
            .collect();
        let Report { calls, acked, unsure, refused, polled, consumed, late, .. } = self.report;
        json!({
            "title": self.title,
            "command": self.command,
            "facts": self.facts,
            "faults": faults,
            "classes": classes,
            "conduct": self.misconduct,
            "calls": calls,
            "acked": acked,
            "unsure": unsure,
            "refused": refused,
            "polled": polled,
            "consumed": consumed,
            "turns": self.history.evidence.turns.len(),
            "late": { "adopted": late.adopted, "opened": late.opened },
        })
    }
}

fn line(out: &mut String, text: &str) {
    writeln!(out, "{text}").expect("a text takes any text");
}
