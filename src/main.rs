//! The `tidegate` binary: everything is in the library, but for the allocator, which is a process's.

use std::process::ExitCode;

/// See the library's `registry::memory` for what it is there for, and `.cargo/config.toml` for its settings.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    tidegate::cli::run()
}
