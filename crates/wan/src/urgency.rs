//! Waking on time: what a thread of the emulator asks of the scheduler.
//!
//! A fair scheduler lets a busy neighbour finish its slice of a few milliseconds first, which is the largest error an
//! emulator in user space has (measured on two cores with three busy loops at 10,000 packets/s: 99th percentile 5.8 ms
//! fair, 0.1 ms in real time). So a real-time class is asked for, at its lowest priority; it is granted to root and to
//! who holds CAP_SYS_NICE. Else a better niceness; else nothing. None of this is needed for correctness.
//!
//! The thread sleeps whenever nothing is due, and the kernel keeps a twentieth of the time for others in any case.

use std::num::NonZeroU64;

use serde::Serialize;
use thread_priority::{
    RealtimeThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy, set_thread_priority_and_policy,
    thread_native_id,
};
use tracing::debug;

/// Asked for where real time is refused.
const NICENESS: i32 = -15;

/// How urgently the kernel schedules a thread that asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Urgency {
    /// Before every fair thread.
    RealTime,
    /// Fairly, with a better niceness.
    Nice,
    /// Like everything else.
    Normal,
}

/// Asks for prompt waking of the calling thread: no timer slack, and the most urgent class that is granted.
pub(crate) fn hurry() -> Urgency {
    if let Err(error) = rustix::thread::set_current_timer_slack(NonZeroU64::new(1)) {
        debug!(%error, "timer slack stays at its default");
    }
    let real_time = ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::Fifo);
    if set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Min, real_time).is_ok() {
        return Urgency::RealTime;
    }
    match rustix::process::setpriority_process(None, NICENESS) {
        Ok(()) => Urgency::Nice,
        Err(_) => Urgency::Normal,
    }
}
