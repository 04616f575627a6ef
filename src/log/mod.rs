//! The partition log (DESIGN §6).

pub mod storage;
