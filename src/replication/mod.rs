//! Replication's decisions, pure: what is in sync, how far it may be read, what a fetch session
//! remembers (DESIGN §7).

pub mod fetch_session;
pub mod high_watermark;
