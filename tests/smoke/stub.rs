//! A server that answers as it is told to, one request after the other, and remembers what it was asked.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

/// The most that a request has.
const MAX_REQUEST_BYTES: usize = 64 * 1024;

/// What is done with one request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Reply {
    /// The connection is closed without a word.
    Hangup,
    /// A status, a header line if it is not empty, and JSON.
    Answer(u16, &'static str, &'static str),
}

/// A request, with when it came.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) at: Instant,
    head: String,
}

/// A server that ends with the test's runtime.
pub(crate) struct Stub {
    pub(crate) addr: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Stub {
    /// Starts a server at `addr` that gives these replies; after the last of them it is gone.
    pub(crate) async fn start(addr: SocketAddr, replies: &'static [Reply]) -> Result<Stub> {
        let listener = TcpListener::bind(addr).await?;
        let addr = listener.local_addr()?;
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        tokio::spawn(async move {
            for reply in replies {
                let Ok((stream, _)) = listener.accept().await else { return };
                let Ok(head) = serve(stream, *reply).await else { return };
                log.lock().unwrap_or_else(PoisonError::into_inner).push(Asked { at: Instant::now(), head });
            }
        });
        Ok(Stub { addr, asked })
    }

    /// The requests so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Asked {
    /// The value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let fields = self.head.lines().filter_map(|line| line.split_once(": "));
        let mut named = fields.filter(|(field, _)| field.eq_ignore_ascii_case(name));
        named.next().map(|(_, value)| value)
    }
}

/// Reads a whole request, so that nothing is left unread when the connection is closed, and replies; its head.
async fn serve(mut stream: TcpStream, reply: Reply) -> Result<String> {
    let mut read = Vec::new();
    let head = loop {
        let mut chunk = [0; 4096];
        let count = stream.read(&mut chunk).await?;
        read.extend_from_slice(&chunk[..count]);
        if let Some(head) = whole(&read) {
            break head;
        }
        anyhow::ensure!(count > 0 && read.len() < MAX_REQUEST_BYTES, "no request");
    };
    if let Reply::Answer(status, header, body) = reply {
        let header = if header.is_empty() { String::new() } else { format!("{header}\r\n") };
        let length = body.len();
        let head = format!("HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Type: application/json\r\n{header}");
        stream.write_all(format!("{head}Content-Length: {length}\r\n\r\n{body}").as_bytes()).await?;
    }
    Ok(head)
}

/// The head of a request, if that and as much body as it says have been read.
fn whole(read: &[u8]) -> Option<String> {
    let end = read.windows(4).position(|window| window == b"\r\n\r\n")?;
    let asked = Asked { at: Instant::now(), head: String::from_utf8_lossy(&read[..end]).into_owned() };
    let length = asked.header("content-length").map_or(Ok(0), str::parse).context("a length").ok()?;
    (read.len() >= end + 4 + length).then_some(asked.head)
}
