//! What the shipped programs are built from: one TLS library, which is the one provider of cryptography.
//! The digests of PostgreSQL's logins and of AWS's signatures are Rust, because their crates have no choice.

use std::collections::BTreeSet;
use std::process::Command;

/// Other TLS libraries, and what they compute with.
const OTHERS: [&str; 8] = [
    "aws-lc-fips-sys",
    "aws-lc-rs",
    "aws-lc-sys",
    "boring-sys",
    "mbedtls",
    "ring",
    "rustls",
    "s2n-tls",
];

/// The packages that a program is built from, with everything that its features add.
fn built_into(program: &str, target: &str) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--locked", "--edges", "normal"])
        .args(["--prefix", "none", "--format", "{p}"])
        .args(["--package", program, "--target", target])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .output()
        .unwrap();
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program}: {complained}");
    let printed = String::from_utf8(output.stdout).unwrap();
    let names = printed.lines().filter_map(|line| line.split(' ').next());
    names.map(str::to_owned).collect()
}

#[test]
fn openssl_is_the_only_tls_library_and_provider_of_cryptography() {
    let functions =
        std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../functions")).unwrap();
    let names = functions.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let programs: Vec<String> = names.chain(["local".to_owned()]).collect();
    assert!(programs.len() > 1, "{programs:?}");
    for program in &programs {
        for target in ["aarch64-unknown-linux-gnu", "x86_64-unknown-linux-gnu"] {
            let packages = built_into(program, target);
            assert!(packages.contains("openssl-sys"), "{program}: {packages:?}");
            let others: Vec<&str> = OTHERS
                .into_iter()
                .filter(|other| packages.contains(*other))
                .collect();
            assert_eq!(others, [""; 0], "{program} for {target}");
        }
    }
}
