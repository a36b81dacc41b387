//! The engine's words for states and ends, as the HTTP interface writes them.

use sortie_engine::{self as engine, QueueOutcome, StateName};

use crate::api;

impl From<StateName> for api::State {
    fn from(state: StateName) -> Self {
        match state {
            StateName::Queued => api::State::Queued,
            StateName::Assigned => api::State::Assigned,
            StateName::Running => api::State::Running,
            StateName::Unreachable => api::State::Unreachable,
            StateName::Cancelling => api::State::Cancelling,
            StateName::Succeeded => api::State::Succeeded,
            StateName::Failed => api::State::Failed,
            StateName::TimedOut => api::State::TimedOut,
            StateName::Cancelled => api::State::Cancelled,
            StateName::Lost => api::State::Lost,
            StateName::Expired => api::State::Expired,
        }
    }
}

impl From<&engine::Outcome> for api::Outcome {
    fn from(outcome: &engine::Outcome) -> Self {
        match outcome {
            engine::Outcome::Exited { code } => api::Outcome::Exited { code: *code },
            engine::Outcome::Signaled { signal } => api::Outcome::Signaled { signal: *signal },
            engine::Outcome::OutOfMemory => api::Outcome::OutOfMemory,
            engine::Outcome::CouldNotStart { errno, detail } => {
                api::Outcome::CouldNotStart { errno: *errno, detail: detail.clone() }
            }
            engine::Outcome::TimedOut => api::Outcome::TimedOut,
            engine::Outcome::Cancelled { by, confirmed } => {
                api::Outcome::Cancelled { by: by.clone(), confirmed: *confirmed }
            }
            engine::Outcome::Lost { started, reason } => {
                api::Outcome::Lost { started: (*started).into(), reason: (*reason).into() }
            }
        }
    }
}

impl From<&QueueOutcome> for api::Outcome {
    fn from(outcome: &QueueOutcome) -> Self {
        match outcome {
            QueueOutcome::Cancelled { by } => api::Outcome::Cancelled { by: by.clone(), confirmed: true },
            QueueOutcome::Expired => api::Outcome::Expired,
        }
    }
}

impl From<engine::Started> for api::Started {
    fn from(started: engine::Started) -> Self {
        match started {
            engine::Started::No => api::Started::No,
            engine::Started::Yes => api::Started::Yes,
            engine::Started::Unknown => api::Started::Unknown,
        }
    }
}

impl From<engine::LostReason> for api::LostReason {
    fn from(reason: engine::LostReason) -> Self {
        match reason {
            engine::LostReason::LeaseEnded => api::LostReason::LeaseEnded,
            engine::LostReason::WorkerStopped => api::LostReason::WorkerStopped,
            engine::LostReason::WorkerDied => api::LostReason::WorkerDied,
            engine::LostReason::OrderLost => api::LostReason::OrderLost,
            engine::LostReason::Overdue => api::LostReason::Overdue,
        }
    }
}
