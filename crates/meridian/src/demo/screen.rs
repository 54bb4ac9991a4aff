//! What one sees: numbered steps with their times, and a block below them that is drawn anew while one waits.
//!
//! On a terminal the block moves in place. Elsewhere, such as in a CI log, only its last state is printed.

use std::io::{IsTerminal as _, Write as _};
use std::time::Instant;

/// The screen.
pub(crate) struct Screen {
    moves: bool,
    steps: usize,
    /// Lines of the block as it was last drawn.
    block: Vec<String>,
    /// The last drawn block is not on the screen yet.
    pending: bool,
}

/// A step under way.
#[derive(Clone, Copy)]
pub(crate) struct Step {
    began: Instant,
}

impl Screen {
    pub(crate) fn new() -> Screen {
        Screen { moves: std::io::stdout().is_terminal(), steps: 0, block: Vec::new(), pending: false }
    }

    pub(crate) fn title(&mut self, regions: usize) {
        self.say(&format!(
            "Meridian: {regions} regions, one queue. Every region takes writes; all show one order.\n"
        ));
    }

    /// Prints text below everything so far.
    pub(crate) fn say(&mut self, text: &str) {
        self.settle();
        put(&format!("{text}\n"));
    }

    /// Announces a step.
    pub(crate) fn begin(&mut self, what: &str) -> Step {
        self.steps += 1;
        self.say(&format!("{:>2}. {what}", self.steps));
        Step { began: Instant::now() }
    }

    /// Ends a step, with what came of it.
    pub(crate) fn done(&mut self, step: Step, outcome: &str) {
        let took_s = step.began.elapsed().as_secs_f64();
        let outcome = if outcome.is_empty() { "done".to_owned() } else { outcome.to_owned() };
        self.say(&format!("    {outcome} ({took_s:.1} s)\n"));
    }

    /// Draws the block, over the one before.
    pub(crate) fn draw(&mut self, text: &str) {
        let lines: Vec<String> = text.lines().map(|line| format!("    {line}")).collect();
        if self.moves {
            let back = if self.block.is_empty() {
                String::new()
            } else {
                format!("\x1b[{}A\x1b[J", self.block.len())
            };
            put(&format!("{back}{}\n", lines.join("\n")));
        } else {
            self.pending = true;
        }
        self.block = lines;
    }

    /// Leaves the block where it is: what comes next comes below.
    pub(crate) fn settle(&mut self) {
        let block = std::mem::take(&mut self.block);
        if std::mem::take(&mut self.pending) {
            put(&format!("{}\n", block.join("\n")));
        }
    }
}

/// A reader that has gone away does not stop the story: the sites must be taken down in any case.
fn put(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
