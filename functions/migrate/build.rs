//! Rebuilds `migrate` when a migration is added or removed; changes to existing ones are detected
//! anyway.

fn main() {
    println!("cargo::rerun-if-changed=../../migrations");
}
