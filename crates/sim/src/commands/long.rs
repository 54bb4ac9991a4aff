//! The long run: seeds of every size for as long as one likes, each of them twice; one of three also with a witness, or
//! with none but a majority left in the end.
//!
//! A seed that goes two ways broke I-53. A seed that breaks anything is shrunk and printed with the command that repeats
//! it, and ends the run. In the end there is what was done, how fast, and which faults met which invariants.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::table::Table;
use super::{Wanted, shrink, threads};
use crate::checkers::{Verdict, counted, ensure};
use crate::swarm::Kind;
use crate::{Options, Report, run};

/// How many sites, and how many steps, by the seed.
const SIZES: [(u16, u64); 8] =
    [(3, 6_000), (3, 6_000), (3, 30_000), (5, 6_000), (3, 6_000), (5, 20_000), (3, 12_000), (7, 10_000)];

/// What else is asked of sites, or happens to them only where it is asked for.
const ELSE: [Kind; 11] = [
    Kind::Retain,
    Kind::Low,
    Kind::Flood,
    Kind::Upgrade,
    Kind::Crowd,
    Kind::Behind,
    Kind::Decay,
    Kind::Scratch,
    Kind::Restore,
    Kind::Forge,
    Kind::Force,
];

/// What a thread did.
#[derive(Debug, Default)]
struct Done {
    seeds: u64,
    steps: u64,
    true_us: u64,
    acknowledged: usize,
    /// Runs that ended with nobody left to write in the order.
    waiting: u64,
    entries: usize,
    table: Table,
    busy: Duration,
}

/// Runs for so many minutes.
///
/// # Errors
/// The first failure, shrunk.
pub fn long(wanted: &Wanted, minutes: u64) -> Result<(), String> {
    let (next, stop, began) = (AtomicU64::new(wanted.first), AtomicBool::new(false), Instant::now());
    let (until, failure) = (began + Duration::from_secs(minutes * 60), Mutex::new(None));
    let work = || {
        let mut done = Done::default();
        while Instant::now() < until && !stop.load(Ordering::Relaxed) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            let mixes = mixes(seed, &wanted.options);
            if let Err(failed) = mixes.iter().try_for_each(|options| done.seed(seed, options)) {
                stop.store(true, Ordering::Relaxed);
                failure.lock().expect("nobody panics while it holds this").get_or_insert(failed);
            }
        }
        done.busy = on_core().unwrap_or(began.elapsed());
        done
    };
    let parts: Vec<Done> = thread::scope(|scope| {
        let parts: Vec<_> = (0..threads()).map(|_| scope.spawn(work)).collect();
        parts.into_iter().map(|part| part.join().expect("a run catches its own panics")).collect()
    });
    tell(&parts, began.elapsed());
    match failure.into_inner().expect("nobody panics while it holds this") {
        Some(failure) => Err(failure),
        None => Ok(()),
    }
}

/// In one seed of three the members change, and in one of three something else is asked of sites or happens to them, unless other
/// faults were asked for.
fn sized(seed: u64, options: &Options) -> Options {
    let (sites, steps) = SIZES[(seed % SIZES.len() as u64) as usize];
    let mut options = Options { sites, steps, ..options.clone() };
    if options.also.is_empty() && !options.plain {
        options.also = match seed % 3 {
            0 => Vec::new(),
            1 => vec![Kind::Add, Kind::Remove],
            _ => vec![ELSE[(seed / 3 % ELSE.len() as u64) as usize]],
        };
    }
    options
}

/// A seed in which nothing else is asked of sites runs once more, with one of them as a witness, or to its end with a majority alone
/// (liveness mode); unless other faults were asked for.
fn mixes(seed: u64, wanted: &Options) -> Vec<Options> {
    let options = sized(seed, wanted);
    let is_free = options.also.is_empty() && !options.plain;
    let again = match seed / 3 % 2 {
        0 => Options { also: vec![Kind::Witness], ..options.clone() },
        _ => Options { core_only: true, ..options.clone() },
    };
    std::iter::once(options).chain(is_free.then_some(again)).collect()
}

impl Done {
    /// One seed, twice.
    fn seed(&mut self, seed: u64, options: &Options) -> Result<(), String> {
        let once = run(seed, options).map_err(|failure| shrink::shrunk(*failure))?;
        let again = run(seed, options).map_err(|failure| format!("I-53: the second time, {failure}"))?;
        same_way(seed, options, &once, &again).map_err(|violation| violation.to_string())?;
        // The second run's counts, which are the first one's, and I-53.
        self.add(&Report { checked: counted(), ..once });
        Ok(())
    }

    fn add(&mut self, report: &Report) {
        self.seeds += 1;
        self.steps += 2 * report.steps;
        self.true_us += 2 * report.true_us;
        self.acknowledged += report.batches.1;
        self.waiting += u64::from(report.waits_for_operator);
        self.entries += report.entries;
        self.table.add(report);
    }
}

/// I-53: a seed is one run.
fn same_way(seed: u64, options: &Options, once: &Report, again: &Report) -> Verdict {
    ensure(once == again, "I-53", || format!("seed {seed} {options} went two ways: {once:?} and {again:?}"))
}

fn tell(parts: &[Done], elapsed: Duration) {
    let mut table = Table::default();
    parts.iter().for_each(|part| table.join(&part.table));
    let sum = |of: fn(&Done) -> u64| parts.iter().map(of).sum::<u64>();
    let (seeds, steps, true_s) = (sum(|it| it.seeds), sum(|it| it.steps), sum(|it| it.true_us) / 1_000_000);
    let busy_s = parts.iter().map(|part| part.busy.as_secs_f64()).sum::<f64>().max(0.001);
    println!(
        "{seeds} seeds, each twice and the same both times, in {:.0} s on {} threads: {steps} events, {:.0} a second of \
         processor time; {true_s} s of simulated time, {:.0} of them per second of processor time; {} entries, {} batches \
         acknowledged; {} ended with nobody left to write in the order (decision 0015)\n",
        elapsed.as_secs_f64(),
        parts.len(),
        steps as f64 / busy_s,
        true_s as f64 / busy_s,
        sum(|it| it.entries as u64),
        sum(|it| it.acknowledged as u64),
        sum(|it| it.waiting),
    );
    println!(
        "How often each invariant was held against something, in runs that each fault struck in:\n\n{table}"
    );
}

/// How long this thread has been on a processor: what a busy machine leaves it.
fn on_core() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    Some(Duration::from_nanos(text.split(' ').next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::same_way;
    use crate::{Options, run};

    #[test]
    fn a_seed_that_goes_two_ways_is_flagged() {
        let options = Options { steps: 10, plain: true, ..Options::default() };
        let once = run(0, &options).unwrap();
        let mut again = once.clone();
        assert_eq!(same_way(0, &options, &once, &again), Ok(()));
        again.checked[18] += 1;
        assert_eq!(same_way(0, &options, &once, &again).unwrap_err().invariant, "I-53");
    }
}
