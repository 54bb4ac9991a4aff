//! How far a long command has come, on standard error and only where that is a terminal.
//!
//! Nothing is shown where a line of it could get between lines of an answer: a command whose answer goes to the same
//! terminal shows none.

use std::borrow::Cow;
use std::io::{IsTerminal as _, stdin, stdout};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How often the spinner moves where nothing comes.
const TICK: Duration = Duration::from_millis(200);
const OPEN: &str = "{spinner} {human_pos} {msg}, {per_sec}, {elapsed}";
const BOUNDED: &str = "{bar:30} {human_pos} of {human_len} {msg}, {per_sec}, {eta} left";

/// A count that grows.
pub(crate) struct Progress(ProgressBar);

impl Progress {
    /// Of what is read from standard input: shown unless that is somebody typing.
    pub(crate) fn of_input(what: impl Into<Cow<'static, str>>) -> Progress {
        Progress::new(None, what, !stdin().is_terminal())
    }

    /// Of what goes to standard output: shown unless that is the terminal too.
    pub(crate) fn of_output(total: Option<u64>, what: impl Into<Cow<'static, str>>) -> Progress {
        Progress::new(total, what, !stdout().is_terminal())
    }

    /// Of what is worked on before there is an answer.
    pub(crate) fn of_work(total: u64, what: impl Into<Cow<'static, str>>) -> Progress {
        Progress::new(Some(total), what, true)
    }

    fn new(total: Option<u64>, what: impl Into<Cow<'static, str>>, shown: bool) -> Progress {
        // On what is no terminal the bar hides itself.
        let target = if shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let style = ProgressStyle::with_template(if total.is_some() { BOUNDED } else { OPEN });
        let bar = ProgressBar::with_draw_target(total, target).with_message(what);
        bar.set_style(style.expect("the templates above are well formed"));
        if shown {
            bar.enable_steady_tick(TICK);
        }
        Progress(bar)
    }

    /// So much more is done.
    pub(crate) fn add(&self, count: u64) {
        self.0.inc(count);
    }
}

impl Drop for Progress {
    /// However a command ends, its last word stands on a clean line.
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::Progress;

    #[test]
    fn both_forms_are_well_formed_and_count_where_nothing_is_shown() {
        for progress in [Progress::of_input("records"), Progress::of_work(10, "logs")] {
            progress.add(3);
            progress.add(4);
            assert_eq!(progress.0.position(), 7);
        }
    }
}
