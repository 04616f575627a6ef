//! The binary: everything it does is in the library, what it is told is in `cli`.

mod cli;

fn main() -> std::process::ExitCode {
    cli::run()
}
