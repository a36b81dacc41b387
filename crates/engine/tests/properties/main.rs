//! What holds for both state machines whatever happens to them.

mod model;
mod scheduler;
mod slots;
mod step;

use proptest::test_runner::Config;

/// A failing case prints itself; nothing is written beside the sources.
fn config() -> Config {
    Config { cases: 400, failure_persistence: None, max_shrink_iters: 20_000, ..Config::default() }
}
