//! The program that `cargo run` starts, for the tests of its command line.

fn main() -> std::process::ExitCode {
    local::main()
}
