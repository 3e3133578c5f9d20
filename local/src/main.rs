//! `cargo run`: the whole API on this machine; what it does is in the library beside it.

fn main() -> std::process::ExitCode {
    local::main()
}
