//! The binary: everything it does is in the library, what it is told is in `cli`.

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

mod cli;

fn main() -> std::process::ExitCode {
    cli::run()
}
