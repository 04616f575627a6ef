//! The short form of the `kill-loop` command.

use anyhow::Result;

use super::Test;
use crate::kill_loop::{Options, run};

pub fn listed() -> Vec<Test> {
    vec![Test::new("dohle::kill_9_again_and_again", again_and_again).ours_only()]
}

fn again_and_again(_shared: &str) -> Result<()> {
    let options = Options {
        kills: 7,
        longest_run_ms: 1200,
        rate: 800,
        ..Options::default()
    };
    run(&options)?.check()
}
