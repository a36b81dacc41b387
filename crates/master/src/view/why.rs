//! Why a task is not running, in words.

use sortie_engine::{self as engine, Why};
use sortie_store::TaskRow;

use super::time;
use crate::api;

/// Why a live task is not running, in a sentence too.
pub(crate) fn explanation(row: &TaskRow, found: &engine::Explanation) -> api::Explanation {
    let worker = row.worker.as_deref().unwrap_or("a worker");
    let (reason, detail) = match found.why {
        Why::Held => (api::Reason::Held, format!("it is {}: {worker} holds it", found.state)),
        Why::HeldBack { until } => (
            api::Reason::HeldBack,
            format!("its last attempt has ended, and it is held back until {} before the next", time(until)),
        ),
        Why::NoWorker => (api::Reason::NoWorker, "no worker is connected; start one".to_owned()),
        Why::NoMatch => (
            api::Reason::NoMatch,
            format!("none of the {} connected workers has the labels that its selector asks for", found.connected),
        ),
        Why::TooSmall => {
            (api::Reason::TooSmall, format!("none of the {} matching workers has that many slots", found.matching))
        }
        Why::Draining => {
            (api::Reason::Draining, format!("all of the {} workers that could run it are draining", found.large_enough))
        }
        Why::Busy => (
            api::Reason::Busy,
            format!("all of the {} workers that could run it are busy; {} tasks go first", found.open, found.ahead),
        ),
    };
    let not_before = match found.why {
        Why::HeldBack { until } => Some(time(until)),
        Why::Held | Why::NoWorker | Why::NoMatch | Why::TooSmall | Why::Draining | Why::Busy => None,
    };
    api::Explanation {
        id: row.id.to_string(),
        state: found.state.into(),
        reason,
        detail,
        not_before,
        ahead: found.ahead,
        workers_connected: found.connected,
        workers_matching: found.matching,
        workers_large_enough: found.large_enough,
        workers_open: found.open,
    }
}

/// Why a task that has ended is not running.
pub(crate) fn ended_explanation(row: &TaskRow) -> api::Explanation {
    let state = row.state.name();
    api::Explanation {
        id: row.id.to_string(),
        state: state.into(),
        reason: api::Reason::Ended,
        detail: format!("it has ended: {state}"),
        not_before: None,
        ahead: 0,
        workers_connected: 0,
        workers_matching: 0,
        workers_large_enough: 0,
        workers_open: 0,
    }
}
