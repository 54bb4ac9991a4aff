//! How fast a link may send: our own congestion control behind quinn's public traits.
//!
//! On a long path with one percent of random loss, controllers that take loss for congestion send next to nothing, and the
//! rate-based one that quinn has overruns small buffers. This one measures instead: what the path delivers per round
//! trip, and how short a round trip can be. Their product is what fits on the way, and the window stays close to it.
//!
//! `path` is the arithmetic: plain numbers in, a window out, no clock. `controller` dresses it for quinn.
//! One limit comes from quinn's receiver: it gives up a connection whose stream has more than 1024 holes. So nothing here
//! may ever overrun a path by thousands of packets at once, which is why startup doubles only while windows are small.
//!
//! It refuses to answer loss below three percent, to let more than a quarter of a round trip (but at least 10 ms) of queue
//! stand, and to go above the configured window.

mod controller;
mod path;
mod recent;

pub use controller::WanController;
pub(crate) use controller::{fits, heard_again, remember, try_silent};

#[cfg(test)]
mod tests;
#[cfg(test)]
mod wire_tests;
