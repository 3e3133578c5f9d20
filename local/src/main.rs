//! `cargo run`: the whole API on this machine, implemented in the library beside it.

fn main() -> std::process::ExitCode {
    local::main()
}
