//! What a command wrote. It never passes through the scheduler: the shells hand it on beside the reports.

/// The most that is kept of one stream of one attempt, in bytes.
pub const MAX_CAPTURED_BYTES: usize = 1024 * 1024;

/// What one attempt wrote to both of its streams.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Output {
    /// Standard output.
    pub stdout: Captured,
    /// Standard error.
    pub stderr: Captured,
}

/// The beginning of a stream, and how much of it was not kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Captured {
    /// The first bytes, as they were written.
    pub bytes: Vec<u8>,
    /// How many bytes were written after them and dropped.
    pub dropped: u64,
}

impl Captured {
    /// Keeps what there is room for, and counts the rest.
    pub fn append(&mut self, chunk: &[u8]) {
        let room = MAX_CAPTURED_BYTES - self.bytes.len().min(MAX_CAPTURED_BYTES);
        let (kept, dropped) = chunk.split_at(room.min(chunk.len()));
        self.bytes.extend_from_slice(kept);
        self.dropped += dropped.len() as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_counted() {
        let mut captured = Captured::default();
        captured.append(&vec![b'a'; MAX_CAPTURED_BYTES - 1]);
        captured.append(b"bcd");
        captured.append(b"e");
        assert_eq!(
            (captured.bytes.len(), captured.bytes.last(), captured.dropped),
            (MAX_CAPTURED_BYTES, Some(&b'b'), 3)
        );
    }
}
