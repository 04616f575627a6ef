//! Writes what a broker answers to the cases of `conformance::produce`; see there.

#![expect(clippy::print_stderr, reason = "a tool says how it is used")]

use std::fs::File;
use std::io::{self, Write};

use conformance::produce::{cases::cases, client::Client, to_line};
use flate2::{Compression, write::GzEncoder};

fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, path] = arguments.as_slice() else {
        eprintln!("record_produce HOST:PORT FILE");
        std::process::exit(2);
    };
    let mut out = GzEncoder::new(File::create(path)?, Compression::best());
    let mut client = Client::connect(address)?;
    for case in cases() {
        let answer = client
            .run(&case)
            .map_err(|error| io::Error::other(format!("{}: {error}", case.name)))?;
        writeln!(out, "{}", to_line(&case, &answer))?;
    }
    out.finish()?;
    Ok(())
}
