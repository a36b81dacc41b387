//! Reading what a command writes, both of its streams apart.

use std::io;
use std::os::fd::OwnedFd;

use sortie_engine::{Captured, Output};
use tokio::net::unix::pipe::Receiver;

/// The most that is read at once, in bytes: as much as a pipe holds unless it was told otherwise.
const READ_BYTES: usize = 64 * 1024;

/// The reading ends of a command's output, and what came out of them.
#[derive(Debug)]
pub(crate) struct Capture {
    stdout: Stream,
    stderr: Stream,
}

#[derive(Debug)]
struct Stream {
    /// Nothing once it has ended.
    pipe: Option<Receiver>,
    captured: Captured,
}

impl Capture {
    /// Makes ready to read from two pipes.
    ///
    /// # Errors
    /// When the runtime cannot watch them.
    pub(crate) fn new(stdout: OwnedFd, stderr: OwnedFd) -> io::Result<Self> {
        Ok(Capture { stdout: Stream::new(stdout)?, stderr: Stream::new(stderr)? })
    }

    /// Reads until both streams have ended. It may be dropped and called again: nothing is lost.
    pub(crate) async fn read_to_end(&mut self) {
        futures_util::future::join(self.stdout.read_to_end(), self.stderr.read_to_end()).await;
    }

    /// What has been read.
    pub(crate) fn into_output(self) -> Output {
        Output { stdout: self.stdout.captured, stderr: self.stderr.captured }
    }
}

impl Stream {
    fn new(pipe: OwnedFd) -> io::Result<Self> {
        Ok(Stream { pipe: Some(Receiver::from_owned_fd(pipe)?), captured: Captured::default() })
    }

    async fn read_to_end(&mut self) {
        while let Some(pipe) = &self.pipe {
            if pipe.readable().await.is_err() || read_once(pipe, &mut self.captured).is_err() {
                self.pipe = None;
            }
        }
    }
}

/// Reads what is there. The buffer lives no longer than this, so that a silent command costs none.
fn read_once(pipe: &Receiver, captured: &mut Captured) -> io::Result<()> {
    let mut chunk = [0; READ_BYTES];
    match pipe.try_read(&mut chunk) {
        Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
        Ok(n) => {
            captured.append(&chunk[..n]);
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
        Err(error) => Err(error),
    }
}
