//! The protocol between the master, its workers and its clients.
//!
//! [`pb`] is the generated code. [`node`] and [`task`] translate it from and to the engine's words, one conversion a
//! message. What a client asks for, over gRPC or HTTP, is a [`draft`] first. What comes in is checked here, so that
//! nothing behind this crate meets what does not fit. [`trace`] carries the trace context along.

pub mod node;
pub mod draft;
pub mod task;
pub mod trace;

/// The code that is generated from `proto/sortie/v1`.
#[allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::allow_attributes_without_reason,
    clippy::too_many_lines,
    clippy::wildcard_enum_match_arm,
    reason = "generated code"
)]
pub mod pb {
    tonic::include_proto!("sortie.v1");

    /// The descriptors of the protos, for reflection.
    pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
}

/// The protocol that this build speaks.
pub const PROTOCOL: u32 = 1;

/// The most bytes in one message: two streams of output at their limit, and room to spare.
pub const MAX_MESSAGE_BYTES: usize = 8 * 1024 * 1024;

/// A message that does not fit the protocol, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub &'static str);

/// A duration as it goes over the wire; longer ones than the wire can carry are cut to what it can.
#[must_use]
pub fn duration_to_pb(duration: std::time::Duration) -> prost_types::Duration {
    prost_types::Duration {
        seconds: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(duration.subsec_nanos()).unwrap_or(0),
    }
}
