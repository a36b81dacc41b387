//! What no compiler checks: the length of files, the engine's dependencies, debts, and that the checks are one.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// The most lines in a file of Rust; most have 80 to 200.
const MAX_FILE_LINES: usize = 600;
/// The most lines of code in the engine, tests and comments aside, and what tests call to check its invariants.
const MAX_ENGINE_LINES: usize = 2500;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace's root").to_path_buf()
}

/// Every file below `dir` that git would keep, by its ending.
fn files(dir: &Path, ending: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            found.extend(files(&path, ending)?);
        } else if path.is_file() && name.ends_with(ending) {
            found.push(path);
        }
    }
    Ok(found)
}

#[test]
fn no_file_is_too_long() -> Result<()> {
    for path in files(&root(), ".rs")? {
        let lines = fs::read_to_string(&path)?.lines().count();
        assert!(lines <= MAX_FILE_LINES, "{} has {lines} lines; split it", path.display());
    }
    Ok(())
}

#[test]
fn the_engine_stays_small() -> Result<()> {
    let mut lines = 0;
    // The invariants, which are the tests' own: nothing but tests calls them.
    let invariants = root().join("crates/engine/src/scheduler/check.rs");
    assert!(invariants.is_file(), "the engine's invariants are somewhere else");
    for path in files(&root().join("crates/engine/src"), ".rs")?.into_iter().filter(|path| *path != invariants) {
        let text = fs::read_to_string(&path)?;
        let code = text.split("#[cfg(test)]").next().unwrap_or_default().lines().map(str::trim);
        lines += code.filter(|line| !line.is_empty() && !line.starts_with("//")).count();
    }
    assert!(lines <= MAX_ENGINE_LINES, "the engine has {lines} lines of code; the model is wrong, not the limit");
    Ok(())
}

/// The names in one section of a manifest.
fn section(manifest: &Path, header: &str) -> Result<Vec<String>> {
    let text = fs::read_to_string(manifest)?;
    let lines = text.lines().skip_while(|line| *line != header).skip(1).take_while(|line| !line.starts_with('['));
    let names = lines.filter_map(|line| line.split(['.', ' ', '=']).next()).filter(|name| !name.is_empty());
    Ok(names.map(str::to_owned).collect())
}

#[test]
fn crates_depend_on_what_the_design_allows() -> Result<()> {
    let allowed: [(&str, &[&str]); 6] = [
        ("engine", &[]),
        ("wire", &["sortie-engine"]),
        ("store", &["sortie-engine"]),
        ("master", &["sortie-engine", "sortie-store", "sortie-wire"]),
        ("worker", &["sortie-engine", "sortie-wire"]),
        ("sortie", &["sortie-engine", "sortie-master", "sortie-wire", "sortie-worker"]),
    ];
    for (name, allowed) in allowed {
        let manifest = root().join("crates").join(name).join("Cargo.toml");
        for found in section(&manifest, "[dependencies]")? {
            assert!(!found.starts_with("sortie") || allowed.contains(&found.as_str()), "{name} depends on {found}");
        }
    }
    let engine = section(&root().join("crates/engine/Cargo.toml"), "[dependencies]")?;
    assert_eq!(engine, ["thiserror"], "the engine is pure");
    Ok(())
}

#[test]
fn a_debt_is_an_issue_and_not_a_comment() -> Result<()> {
    // Put together here, so that this file is not its own find.
    let marks = [["TO", "DO"].concat(), ["FIX", "ME"].concat(), ["XX", "X"].concat(), ["#[ig", "nore"].concat()];
    for path in files(&root(), ".rs")? {
        let text = fs::read_to_string(&path)?;
        for mark in &marks {
            assert!(!text.contains(mark.as_str()), "{} has a {mark}", path.display());
        }
    }
    Ok(())
}

#[test]
fn every_file_says_what_it_is() -> Result<()> {
    for path in files(&root(), ".rs")? {
        let text = fs::read_to_string(&path)?;
        assert!(text.starts_with("//!"), "{} does not begin with what it is", path.display());
    }
    Ok(())
}

#[test]
fn ci_runs_what_just_check_runs() -> Result<()> {
    let justfile = fs::read_to_string(root().join("justfile"))?;
    let ci = fs::read_to_string(root().join(".ci/run"))?;
    let recipes = justfile.lines().find_map(|line| line.strip_prefix("check: ")).context("a check recipe")?;
    for recipe in recipes.split(' ') {
        let mut lines = justfile.lines().skip_while(|line| *line != format!("{recipe}:")).skip(1);
        let command = lines.next().with_context(|| format!("a recipe {recipe}"))?.trim();
        assert!(ci.lines().any(|line| line == command), ".ci/run does not run `{command}`");
    }
    Ok(())
}
