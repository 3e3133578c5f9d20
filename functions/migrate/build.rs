//! Builds `migrate` anew when a migration is added or removed; a changed one is seen anyway.

fn main() {
    println!("cargo::rerun-if-changed=../../migrations");
}
