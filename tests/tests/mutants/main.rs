//! The simulation's own test: each variant of the engine is broken in one place, and the simulation must find it.
//!
//! The engine is copied once for each variant, all copies are packages of one small workspace below `target/mutants`,
//! and the simulation of each is run until it fails. A variant whose text is not in the engine any more is stale: it
//! must be brought up to date with what it breaks, or go.

mod variants;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use variants::{VARIANTS, Variant};

/// In so many histories the simulation must find what is broken.
const COUNT: u64 = 3_000;
/// So many histories pass if nothing is: more of them are tried by the engine's own tests.
const UNBROKEN_COUNT: u64 = 300;
/// The copy in which nothing is broken.
const UNBROKEN: &str = "unbroken";
/// What is copied.
const COPIED: [&str; 2] = ["src", "tests/sim"];

/// Files by their paths below the engine's directory.
type Files = BTreeMap<String, String>;

#[test]
fn the_simulation_finds_what_is_broken() -> Result<()> {
    let began = Instant::now();
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().context("a target directory")?.join("mutants");
    write(&dir)?;
    let simulations = build(&dir)?;
    say(&format!("built {} simulations in {:.0?}", simulations.len(), began.elapsed()));
    ensure!(first_failure(&simulations, UNBROKEN, UNBROKEN_COUNT)?.is_none(), "the engine as it is fails");
    let mut missed = Vec::new();
    for Variant { name, .. } in VARIANTS {
        let began = Instant::now();
        match first_failure(&simulations, &slug(name), COUNT)? {
            Some(seed) => say(&format!("{name:50} seed {seed:>5} {:>6.1?}", began.elapsed())),
            None => missed.push(name),
        }
    }
    say(&format!("all in {:.0?}", began.elapsed()));
    ensure!(missed.is_empty(), "the simulation does not find in {COUNT} histories that {missed:#?}");
    Ok(())
}

impl Variant {
    fn is_stale(&self, files: &Files) -> bool {
        files.get(self.file).is_none_or(|text| text.matches(self.text).count() != 1)
    }

    fn apply(&self, files: &Files) -> Files {
        let mut files = files.clone();
        for (_, text) in files.iter_mut().filter(|(path, _)| *path == self.file) {
            *text = text.replace(self.text, self.replacement);
        }
        files
    }
}

/// Writes a workspace of all variants. What stands there already is left as it is, and is not compiled again.
fn write(dir: &Path) -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the workspace's root")?;
    let engine = root.join("crates/engine");
    let mut files = Files::new();
    for copied in COPIED {
        read(&engine, Path::new(copied), &mut files)?;
    }
    let stale: Vec<_> = VARIANTS.iter().filter(|variant| variant.is_stale(&files)).map(|v| v.name).collect();
    ensure!(stale.is_empty(), "stale, for what they replace is not there exactly once: {stale:#?}");
    let package = fs::read_to_string(engine.join("Cargo.toml"))?;
    copy(dir, UNBROKEN, &package, &files)?;
    for variant in VARIANTS {
        copy(dir, &slug(variant.name), &package, &variant.apply(&files))?;
    }
    put(&dir.join("Cargo.toml"), &workspace(&fs::read_to_string(root.join("Cargo.toml"))?))?;
    put(&dir.join("Cargo.lock"), &fs::read_to_string(root.join("Cargo.lock"))?)
}

fn read(engine: &Path, below: &Path, files: &mut Files) -> Result<()> {
    for entry in fs::read_dir(engine.join(below))? {
        let (path, is_dir) =
            entry.and_then(|entry| Ok((below.join(entry.file_name()), entry.file_type()?.is_dir())))?;
        if is_dir {
            read(engine, &path, files)?;
        } else {
            let name = path.to_str().context("a file's name")?.to_owned();
            files.insert(name, fs::read_to_string(engine.join(path))?);
        }
    }
    Ok(())
}

/// Writes one package: the engine's own, with the simulation as its only test.
fn copy(dir: &Path, name: &str, package: &str, files: &Files) -> Result<()> {
    let package = package.split("[dev-dependencies]").next().unwrap_or_default();
    let renamed = package.replacen("name = \"sortie-engine\"", &format!("name = \"{name}\""), 1);
    put(&dir.join(name).join("Cargo.toml"), &format!("{renamed}[lib]\nname = \"sortie_engine\"\n"))?;
    files.iter().try_for_each(|(path, text)| put(&dir.join(name).join(path), text))
}

/// The real workspace's manifest, with other members.
fn workspace(manifest: &str) -> String {
    let names = VARIANTS.iter().map(|variant| slug(variant.name)).chain([UNBROKEN.to_owned()]);
    let members = format!("members = {:?}", names.collect::<Vec<_>>());
    let lines = manifest.lines().filter(|line| !line.starts_with("default-members"));
    let lines = lines.map(|line| if line.starts_with("members = ") { members.as_str() } else { line });
    lines.collect::<Vec<_>>().join("\n")
}

fn put(path: &Path, text: &str) -> Result<()> {
    if fs::read_to_string(path).is_ok_and(|there| there == text) {
        return Ok(());
    }
    fs::create_dir_all(path.parent().context("a directory")?)?;
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// A package's name.
fn slug(name: &str) -> String {
    name.replace(|c: char| !c.is_ascii_alphanumeric(), "-")
}

/// Compiles all of them at once; where each simulation is, by its package.
fn build(dir: &Path) -> Result<BTreeMap<String, PathBuf>> {
    let arguments = ["test", "--workspace", "--test", "sim", "--no-run", "--offline", "--message-format"];
    let built = Command::new(env!("CARGO"))
        .current_dir(dir)
        .args(arguments)
        .args(["json-render-diagnostics", "--config", "profile.dev.debug=false", "--target-dir"])
        .arg(dir.join("target"))
        .output()?;
    ensure!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let messages = built.stdout.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok());
    Ok(messages.filter_map(|message: Value| simulation(&message)).collect())
}

fn simulation(message: &Value) -> Option<(String, PathBuf)> {
    let package = Path::new(message["manifest_path"].as_str()?).parent()?.file_name()?.to_str()?;
    let executable = message["executable"].as_str()?;
    Some((package.to_owned(), executable.into()))
}

/// The seed with which a simulation fails, if one of the first so many does.
fn first_failure(simulations: &BTreeMap<String, PathBuf>, package: &str, count: u64) -> Result<Option<u64>> {
    let simulation = simulations.get(package).with_context(|| format!("no simulation of {package}"))?;
    let run = Command::new(simulation)
        .arg("--nocapture")
        .env("SORTIE_SIM_COUNT", count.to_string())
        .env_remove("SORTIE_SIM_SEED")
        .env("RUST_BACKTRACE", "0")
        .output()?;
    if run.status.success() {
        return Ok(None);
    }
    let told = String::from_utf8_lossy(&run.stderr);
    let seeds = told.lines().filter_map(|line| line.strip_prefix("this was seed ")?.split(':').next()?.parse().ok());
    seeds.min().map(Some).with_context(|| format!("{package} fails without a seed: {told}"))
}

#[expect(clippy::print_stdout, reason = "the table is what this test is for")]
fn say(line: &str) {
    println!("{line}");
}
