//! Transcripts of the machine, phase by phase, and the bugs that others shipped.

use super::testing::*;
use super::*;

mod alone;
mod broadcast;
mod bugs;
mod chaos;
mod election;
mod reconfiguration;
mod synchronization;
