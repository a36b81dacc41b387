//! The layers of a component's settings: defaults, then a TOML file if one is named, then variables, then flags.
//!
//! figment stops at the first value that cannot be. Here every value of every layer is checked by itself against the
//! defaults, so that all problems are told at once, each with its source.

use std::fmt;
use std::path::{Path, PathBuf};

use figment::error::Kind;
use figment::providers::{Format as _, Toml};
use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider};
use serde::Serialize;

use super::Settings;
use super::env::{Environment, is_service_link};
use crate::exit::{Failure, Result};

/// The setting that names the file, which cannot stand in the file.
const CONFIG: &str = "config";

/// A component's settings, and where each comes from.
#[derive(Debug)]
pub(crate) struct Loaded<S> {
    /// The settings in force.
    pub(crate) settings: S,
    /// One for each of them.
    pub(crate) origins: Vec<Origin>,
}

/// A setting's value in force, and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Origin {
    /// The setting.
    pub(crate) key: String,
    /// Its value, as it would be written.
    pub(crate) value: String,
    /// `default`, the file, the variable or the flag.
    pub(crate) source: String,
}

/// Where a layer comes from.
#[derive(Clone, Debug)]
enum Source {
    Default,
    File(PathBuf),
    Environment(&'static str),
    Flag,
}

/// Values from one source.
#[derive(Clone, Debug)]
struct Layer {
    source: Source,
    values: Dict,
}

/// What cannot be, each with its source.
#[derive(Debug, Default)]
struct Problems(Vec<String>);

/// Puts the settings together; `flags` are the settings among the flags, and `file` is `--config`.
///
/// # Errors
/// All problems of all layers.
pub(crate) fn load<S: Settings>(
    environment: &Environment,
    file: Option<&Path>,
    flags: &impl Serialize,
) -> Result<Loaded<S>> {
    let mut problems = Problems::default();
    let file = file_layer::<S>(environment, file, &mut problems);
    let variables = environment_layer::<S>(environment, &mut problems);
    let flags = Layer { source: Source::Flag, values: dict(flags)? };
    let given: Vec<Layer> = file.into_iter().chain([variables, flags]).collect();

    let everything = given.iter().flat_map(|layer| layer.values.clone()).collect();
    let defaults = Layer { source: Source::Default, values: dict(&S::defaults(environment, &everything))? };
    for layer in &given {
        check::<S>(layer, &defaults, &mut problems);
    }
    problems.none()?;
    merged(&defaults, given)
}

/// The file that the flag names, or else the variable.
fn file_layer<S: Settings>(environment: &Environment, flag: Option<&Path>, problems: &mut Problems) -> Option<Layer> {
    let variable = S::OWNS_PREFIX.then_some(Source::Environment(S::PREFIX));
    let named = || variable.and_then(|variable| Some((variable.of(CONFIG), environment.get(&variable.of(CONFIG))?)));
    let flag = flag.map(|path| (Source::Flag.of(CONFIG), path.as_os_str()));
    let (named_by, path) = flag.or_else(named)?;
    let path = PathBuf::from(path);
    match read(&path) {
        Ok(values) => Some(Layer { source: Source::File(path), values }),
        Err(problem) => {
            problems.add(&named_by, format_args!("`{}` {problem}", path.display()));
            None
        }
    }
}

fn read(path: &Path) -> std::result::Result<Dict, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("cannot be read: {error}"))?;
    Toml::from_str(&text).map_err(|error| format!("is no TOML: {}", error.to_string().trim_end()))
}

/// The variables with the component's prefix. Their values stay strings: a worker may be called 42.
fn environment_layer<S: Settings>(environment: &Environment, problems: &mut Problems) -> Layer {
    let source = Source::Environment(S::PREFIX);
    let mut values = Dict::new();
    let mut links = Vec::new();
    for (rest, value) in environment.with_prefix(S::PREFIX) {
        let key = rest.to_lowercase();
        match value.to_str() {
            _ if S::OWNS_PREFIX && key == CONFIG => {}
            Some(value) if is_service_link(rest, value) => links.push(format!("{}{rest}", S::PREFIX)),
            Some(value) => _ = values.insert(key, Value::from(value)),
            None => problems.add(&source.of(&key), "is not UTF-8"),
        }
    }
    if let (true, Some((first, others))) = (S::OWNS_PREFIX, links.split_first()) {
        problems.add(&names(first, others.len()), SERVICE_LINKS);
    }
    Layer { source, values }
}

/// What is wrong when Kubernetes' variables are taken for settings.
const SERVICE_LINKS: &str = "set by Kubernetes for a Service of that name, which looks like Sortie's settings; \
     set `enableServiceLinks: false` in the pod's spec";

fn names(first: &str, others: usize) -> String {
    match others {
        0 => first.to_owned(),
        1 => format!("{first} and 1 other"),
        _ => format!("{first} and {others} others"),
    }
}

/// Checks every value of `layer` by itself.
fn check<S: Settings>(layer: &Layer, defaults: &Layer, problems: &mut Problems) {
    for (key, value) in &layer.values {
        let known = defaults.values.contains_key(key);
        if !known && (S::OWNS_PREFIX || !matches!(layer.source, Source::Environment(_))) {
            let settings: Vec<&str> = defaults.values.keys().map(String::as_str).collect();
            problems.add(&layer.source.of(key), format_args!("is no setting; these are: {}", settings.join(", ")));
        }
        if !known {
            continue;
        }
        let alone = Layer { source: layer.source.clone(), values: [(key.clone(), value.clone())].into() };
        if let Err(error) = Figment::from(defaults.clone()).merge(alone).extract_lossy::<S>() {
            problems.add(&layer.source.of(key), reason(&error.kind));
        }
    }
}

/// What is wrong with a value, in our words where figment's are clumsy.
fn reason(kind: &Kind) -> String {
    if let Kind::UnknownVariant(found, allowed) = kind {
        return format!("`{found}` is none of {}", allowed.join(", "));
    }
    if let Kind::InvalidType(found, expected) = kind {
        return format!("must be {expected}, not {found}");
    }
    kind.to_string()
}

/// One layer over the other, and where each value came from.
fn merged<S: Settings>(defaults: &Layer, given: Vec<Layer>) -> Result<Loaded<S>> {
    let figment = given.into_iter().fold(Figment::from(defaults.clone()), Figment::merge);
    let settings: S = figment.extract_lossy().map_err(|error| Failure::usage(error.to_string()))?;
    let origins = dict(&settings)?.into_iter().map(|(key, value)| Origin {
        source: source_of(&figment, &key),
        value: text(&value),
        key,
    });
    Ok(Loaded { origins: origins.collect(), settings })
}

fn source_of(figment: &Figment, key: &str) -> String {
    figment.find_metadata(key).map(|metadata| metadata.interpolate(figment.profile(), &[key])).unwrap_or_default()
}

/// A value as it would be written: settings are strings and numbers.
fn text(value: &Value) -> String {
    let number = || value.to_u128().map(|number| number.to_string());
    value.as_str().map(str::to_owned).or_else(number).unwrap_or_default()
}

fn dict(values: &impl Serialize) -> Result<Dict> {
    let value = Value::serialize(values).map_err(|error| Failure::internal(error.to_string()))?;
    value.into_dict().ok_or_else(|| Failure::internal("settings are no struct"))
}

impl Source {
    /// The source of the value of `key`, as people name it.
    fn of(&self, key: &str) -> String {
        match self {
            Source::Default => "default".to_owned(),
            Source::File(path) => format!("file:{} {key}", path.display()),
            Source::Environment(prefix) => format!("{prefix}{}", key.to_uppercase()),
            Source::Flag => format!("--{}", key.replace('_', "-")),
        }
    }
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        let source = self.source.clone();
        Metadata::named("settings").interpolater(move |_, keys| match &source {
            Source::File(path) => format!("file:{}", path.display()),
            Source::Default | Source::Environment(_) | Source::Flag => source.of(keys.last().unwrap_or(&"")),
        })
    }

    fn data(&self) -> figment::Result<Map<Profile, Dict>> {
        Ok([(Profile::Default, self.values.clone())].into())
    }
}

impl Problems {
    fn add(&mut self, source: &str, problem: impl fmt::Display) {
        self.0.push(format!("{source}: {problem}"));
    }

    /// # Errors
    /// When there are any.
    fn none(self) -> Result<()> {
        match self.0.as_slice() {
            [] => Ok(()),
            problems => Err(Failure::usage(format!("these settings cannot be:\n  {}", problems.join("\n  ")))),
        }
    }
}

#[cfg(test)]
mod tests;
