//! Smoke tests: the real binary as people and init systems use it, with processes, signals, files and exit codes.
//!
//! Each test has a [`sandbox`]: a home and a temporary directory of its own, and an environment that is otherwise empty.
//! Every process in it is ended with it. Nothing sleeps: what has to become true is waited for, with a limit.

mod sandbox;
mod process;
mod fleet;
mod pids;
mod stub;
mod load;
mod collector;

mod one_command;
mod commands;
mod workers;
mod away;
mod cancelling;
mod restarts;
mod crashes;
mod stopping;
mod rolling;
mod settings;
mod usage;
mod traces;
