//! What can be gone through without chance: every flipped bit and every cut of a WAL, every crash of a short life.
//!
//! A swarm finds what goes wrong in strange company; small cases are better counted out to the last. `damage` hurts a
//! WAL in every way that one bit or one cut can; `crash` takes the power away after every disk operation and tries
//! every set of unsynced writes that the platter may legally have kept. `cargo test` goes through a small case of each;
//! `sim exhaust` through a large one, and prints how many there were.

pub mod crash;
pub mod damage;
pub(crate) mod pair;
mod platter;

use std::thread;

/// Splits `0..end` among as many threads as asked for; each gets every n-th number, and the results come back in order.
pub(crate) fn shared_out<T: Send>(
    threads: usize,
    end: u64,
    work: impl Fn(&mut dyn Iterator<Item = u64>) -> T + Sync,
) -> Vec<T> {
    let work = &work;
    thread::scope(|scope| {
        let part = |index: usize| scope.spawn(move || work(&mut (index as u64..end).step_by(threads)));
        let parts: Vec<_> = (0..threads.max(1)).map(part).collect();
        parts
            .into_iter()
            .map(|part| part.join().expect("what may panic is caught where it is tried"))
            .collect()
    })
}
