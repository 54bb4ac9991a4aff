//! The words after `sim`.

use std::collections::BTreeSet;

use crate::swarm::Kind;
use crate::trace::Lines;
use crate::{Mutant, Options};

/// What a call asks for.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The first seed.
    pub first: u64,
    /// How many.
    pub count: u64,
    /// For how long, in minutes, instead of a number of seeds.
    pub minutes: Option<u64>,
    /// What kind of runs.
    pub options: Options,
    /// Whether a failure ends the call.
    pub goes_on: bool,
    /// Whether a failure is shrunk to what it takes.
    pub shrinks: bool,
}

const KNOWN: &str = "known: --seeds N --start N --seed N --sites N --steps N --plain --core --also KIND,… --without N,… \
                     --without-clients N,… --mutant NAME --trace --go-on --shrink; or `long`, --minutes N, --hours N; or the words \
                     `exhaust` and `mutants`";

impl Wanted {
    /// Reads them.
    ///
    /// # Errors
    /// A sentence about the first that is not understood.
    pub fn read(words: &[String]) -> Result<Wanted, String> {
        let options = Options::default();
        let mut wanted =
            Wanted { first: 0, count: 200, minutes: None, options, goes_on: false, shrinks: false };
        let mut words = words.iter().map(String::as_str);
        while let Some(word) = words.next() {
            wanted.take(word, &mut words)?;
        }
        Ok(wanted)
    }

    fn take<'a>(&mut self, word: &str, rest: &mut impl Iterator<Item = &'a str>) -> Result<(), String> {
        let mut next = || rest.next().ok_or(format!("{word} needs something behind it"));
        match word {
            "--seeds" => self.count = number(next()?)?,
            "--start" => self.first = number(next()?)?,
            "--seed" => (self.first, self.count) = (number(next()?)?, 1),
            "long" => self.minutes = self.minutes.or(Some(60)),
            "--minutes" => self.minutes = Some(number(next()?)?),
            "--hours" => self.minutes = Some(number(next()?)? * 60),
            "--sites" => {
                self.options.sites = u16::try_from(number(next()?)?).map_err(|error| error.to_string())?;
            }
            "--steps" => self.options.steps = number(next()?)?,
            "--also" => self.options.also = list(next()?, Kind::named)?,
            "--restore" => self.options.also = vec![Kind::Restore],
            "--plain" => self.options.plain = true,
            "--core" => self.options.core_only = true,
            "--without" => {
                self.options.without = list(next()?, |word| word.parse().ok())?.into_iter().collect();
            }
            "--without-clients" => {
                let clients: Vec<usize> = list(next()?, |word| word.parse().ok())?;
                self.options.without_clients = clients.into_iter().collect::<BTreeSet<usize>>();
            }
            "--mutant" => {
                let name = next()?;
                let mutant = Mutant::named(name).ok_or(format!("no mutant is called {name}"))?;
                (self.options.mutant, self.options.also) = (Some(mutant), mutant.needs().to_vec());
                self.options.sites = mutant.sites();
            }
            "--trace" => self.options.lines = Lines::Printed,
            "--go-on" => self.goes_on = true,
            "--shrink" => self.shrinks = true,
            other => return Err(format!("{other}? {KNOWN}")),
        }
        Ok(())
    }
}

fn number(word: &str) -> Result<u64, String> {
    word.parse().map_err(|_| format!("{word} is no number"))
}

fn list<T>(words: &str, read: impl Fn(&str) -> Option<T>) -> Result<Vec<T>, String> {
    words.split(',').map(|word| read(word).ok_or(format!("{word} is not known"))).collect()
}
