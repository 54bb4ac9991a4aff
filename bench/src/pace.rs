//! The beat of an open-loop load: due times that do not wait for anybody.
//!
//! A thread of its own sleeps from one due time to the next, since an async timer rounds to milliseconds. Latencies are counted
//! from the due time, so a driver or system that stalls shows the stall in every record that was due meanwhile.

use std::time::{Duration, Instant};

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// One thing to do, and when it was due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Beat {
    pub(crate) number: u64,
    pub(crate) due: Instant,
}

/// When things are due.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rhythm {
    /// The first is due now and this much later, so that several loads do not beat together.
    pub(crate) offset: Duration,
    pub(crate) every: Duration,
    /// Beats of this time are not counted.
    pub(crate) warm_up: Duration,
    /// Beats of this time, behind the warm-up, are.
    pub(crate) during: Duration,
}

impl Rhythm {
    /// Number `index` of `of` loads of the same rate, spread evenly.
    pub(crate) fn spread(index: usize, of: usize, per_s: f64, warm_up: Duration, during: Duration) -> Self {
        let every = Duration::from_secs_f64(1.0 / per_s);
        Self { offset: every.mul_f64(index as f64 / of.max(1) as f64), every, warm_up, during }
    }

    /// The due times, counted from `zero`.
    pub(crate) fn beats(self, zero: Instant) -> impl Iterator<Item = Beat> + Send {
        let due = move |number: u64| zero + self.offset + self.every.mul_f64(number as f64);
        let end = zero + self.warm_up + self.during;
        (0..).map(move |number| Beat { number, due: due(number) }).take_while(move |beat| beat.due < end)
    }

    /// Whether a beat of a load that began at `zero` counts.
    pub(crate) fn counts(&self, zero: Instant, beat: Beat) -> bool {
        beat.due >= zero + self.warm_up
    }
}

/// Sends every beat when it is due. Ends behind the last one, or when nobody listens.
pub(crate) fn start(rhythm: Rhythm, zero: Instant) -> std::io::Result<UnboundedReceiver<Beat>> {
    let (sender, receiver) = unbounded_channel();
    let play = move || {
        for beat in rhythm.beats(zero) {
            std::thread::sleep(beat.due.saturating_duration_since(Instant::now()));
            if sender.send(beat).is_err() {
                return;
            }
        }
    };
    std::thread::Builder::new().name("pace".to_owned()).spawn(play)?;
    Ok(receiver)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::Rhythm;

    #[test]
    fn beats_are_even_and_only_those_behind_the_warm_up_count() {
        let (second, zero) = (Duration::from_secs(1), Instant::now());
        let rhythm = Rhythm::spread(1, 2, 4.0, second, 2 * second);
        let beats: Vec<_> = rhythm.beats(zero).collect();
        assert_eq!(beats.len(), 12);
        assert_eq!(beats[0].due, zero + Duration::from_millis(125));
        assert_eq!(beats[11].due, zero + Duration::from_millis(125 + 2_750));
        assert_eq!(beats.iter().filter(|beat| rhythm.counts(zero, **beat)).count(), 8);
    }

    #[test]
    fn every_beat_is_sent_whether_or_not_anybody_keeps_up() {
        let ms = Duration::from_millis(1);
        let rhythm = Rhythm { offset: Duration::ZERO, every: ms, warm_up: Duration::ZERO, during: 20 * ms };
        let mut beats = super::start(rhythm, Instant::now()).unwrap();
        let mut heard = 0;
        while let Some(beat) = beats.blocking_recv() {
            assert_eq!(beat.number, heard);
            assert!(Instant::now() >= beat.due, "never before it is due");
            heard += 1;
        }
        assert_eq!(heard, 20);
    }
}
