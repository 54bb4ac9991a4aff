//! A cluster of real `meridian` processes on this machine, with an emulated WAN between them: what demo and benchmarks share.
//!
//! [`Cluster::found`] writes a configuration per site, makes certificates, bootstraps every data directory and starts the
//! emulator; [`Cluster::start`] and [`Cluster::wait_ready`] bring sites up; [`Cluster::stop`] and [`Cluster::kill`] take them
//! down, and [`Cluster::emulator`] changes links while they run. Site number i listens on 127.0.0.(1+i), clients of home
//! number h at port `ports.kafka + h` of every site. All calls block; who lives in an async runtime calls them from
//! `spawn_blocking`.
//!
//! It uses the binary as an operator does, so nothing of Meridian is linked in here: what the cluster shows holds for the
//! real thing. Dropping a cluster kills its processes and no others; its folder stays, for whoever wants to look at the logs.

mod cluster;
mod config;
mod error;
mod plan;
mod ports;
mod process;
mod ready;
mod threads;

pub use cluster::Cluster;
pub use error::LaunchError;
pub use plan::{Network, Plan, Ports, SITES_MAX};
pub use ports::PortBlock;
pub use process::Stopped;
pub use threads::{Thread, threads};
