//! A whole ensemble in one thread, out of one seed: the real peers and the real log over a virtual clock, network and disk.
//!
//! `world` takes one event after another, `faults` sees to it that much goes wrong, `history` judges what was seen by the
//! properties of the paper, and `run` does it all for a seed. The same seed is the same run, to the byte: a seed that fails is
//! printed with the end of its trace and can be run again (`DOHLE_SIM_SEED=… cargo test sim::runs::replay -- --nocapture`).
//!
//! Not here: the driver of `runtime`, its sockets and its threads. The one here is as small as will do.

mod app;
mod brief;
mod chance;
mod clients;
mod disk;
mod faults;
mod history;
mod network;
mod plan;
mod run;
mod server;
mod stats;
mod world;

#[cfg(test)]
mod model;
#[cfg(test)]
mod mutations;
#[cfg(test)]
mod runs;
