//! What a process finds round it: its variables, and where its user keeps state.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

/// The variables of a process.
#[derive(Clone, Debug, Default)]
pub(crate) struct Environment(BTreeMap<OsString, OsString>);

impl Environment {
    /// The variables of this process.
    pub(crate) fn of_this_process() -> Self {
        Environment(std::env::vars_os().collect())
    }

    /// A variable's value.
    pub(crate) fn get(&self, name: &str) -> Option<&OsStr> {
        self.0.get(OsStr::new(name)).map(OsString::as_os_str)
    }

    /// A variable's value, if it is text.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(OsStr::to_str)
    }

    /// The variables whose names begin with `prefix`, by the rest of their names.
    pub(crate) fn with_prefix(&self, prefix: &str) -> impl Iterator<Item = (&str, &OsStr)> {
        let stripped = move |name: &'_ OsString| name.to_str().is_some_and(|name| name.starts_with(prefix));
        let length = prefix.len();
        let named = self.0.iter().filter(move |(name, _)| stripped(name));
        named.filter_map(move |(name, value)| Some((name.to_str()?.get(length..)?, value.as_os_str())))
    }

    /// Where Sortie keeps state that nobody gave a place: by the XDG base directories, else where daemons do.
    pub(crate) fn state_dir(&self) -> PathBuf {
        let absolute = |name| self.get(name).map(Path::new).filter(|path| path.is_absolute());
        let state = absolute("XDG_STATE_HOME").map(Path::to_owned);
        let state = state.or_else(|| absolute("HOME").map(|home| home.join(".local/state")));
        state.unwrap_or_else(|| PathBuf::from("/var/lib")).join("sortie")
    }
}

/// Whether a variable is one of those that Kubernetes sets for a Service whose name is the prefix, or begins so.
///
/// They are `SERVICE_HOST`, `SERVICE_PORT`, `SERVICE_PORT_<PORT'S NAME>` and Docker's links: `PORT` with a URL,
/// `PORT_9092_TCP` and its parts.
pub(crate) fn is_service_link(rest: &str, value: &str) -> bool {
    let words: Vec<&str> = rest.split('_').collect();
    let is_link = |words: &[&str]| match words {
        ["SERVICE", "HOST"] | ["SERVICE", "PORT", ..] => true,
        ["PORT"] => value.contains("://"),
        ["PORT", number, protocol, parts @ ..] => {
            let port = number.parse::<u16>().is_ok() && ["TCP", "UDP", "SCTP"].contains(protocol);
            port && matches!(parts, [] | ["PROTO" | "PORT" | "ADDR"])
        }
        _ => false,
    };
    (0..words.len()).any(|start| is_link(&words[start..]))
}

#[cfg(test)]
impl<const N: usize> From<[(&str, &str); N]> for Environment {
    fn from(variables: [(&str, &str); N]) -> Self {
        Environment(variables.iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_links_of_a_service_are_known_by_their_shape() {
        for rest in ["SERVICE_HOST", "SERVICE_PORT", "SERVICE_PORT_GRPC", "PORT_9092_TCP", "PORT_9092_TCP_ADDR"] {
            assert!(is_service_link(rest, "10.0.0.1"), "{rest}");
        }
        assert!(is_service_link("PORT", "tcp://10.0.0.1:9092"));
        assert!(is_service_link("HEADLESS_SERVICE_HOST", "10.0.0.1"));
        for rest in ["PORT", "HTTP_ADDR", "PORTS", "PORT_X_TCP", "PORT_1_TCP_X", "SERVICE"] {
            assert!(!is_service_link(rest, "9092"), "{rest}");
        }
    }

    #[test]
    fn state_is_kept_where_its_user_keeps_it() {
        let xdg = Environment::from([("XDG_STATE_HOME", "/state"), ("HOME", "/home/anna")]);
        assert_eq!(xdg.state_dir(), Path::new("/state/sortie"));
        let relative = Environment::from([("XDG_STATE_HOME", "state"), ("HOME", "/home/anna")]);
        assert_eq!(relative.state_dir(), Path::new("/home/anna/.local/state/sortie"));
        assert_eq!(Environment::default().state_dir(), Path::new("/var/lib/sortie"));
    }
}
