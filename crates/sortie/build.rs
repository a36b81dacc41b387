//! Tells the binary which commit it was built from: `SORTIE_COMMIT` if the builder says, else what git says.

#![allow(clippy::print_stdout, reason = "a build script talks to cargo over its standard output")]

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-env-changed=SORTIE_COMMIT");
    println!("cargo::rerun-if-changed=build.rs");
    let told = std::env::var("SORTIE_COMMIT").ok().filter(|commit| !commit.is_empty());
    let commit = told.or_else(asked).unwrap_or_else(|| "unknown".to_owned());
    println!("cargo::rustc-env=SORTIE_COMMIT={commit}");
}

/// What git says, if there is a git and a repository. A sources' archive has neither, and must build as well.
fn asked() -> Option<String> {
    for part in ["HEAD", "refs", "packed-refs"] {
        let path = git(&["rev-parse", "--git-path", part])?;
        // A path that is not there would make cargo run this script every time.
        if Path::new(&path).exists() {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    git(&["rev-parse", "--short=12", "HEAD"])
}

/// The one line that git answers, if it answers anything.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
    let answer = String::from_utf8(output.stdout).ok()?;
    let answer = answer.trim();
    (!answer.is_empty()).then(|| answer.to_owned())
}
