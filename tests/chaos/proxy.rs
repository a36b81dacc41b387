//! The network between a worker and its master: it can be cut, or go silent.

use std::net::SocketAddr;

use anyhow::Result;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Forwards connections to one address.
pub(crate) struct Proxy {
    pub(crate) addr: SocketAddr,
    weather: watch::Sender<Weather>,
}

#[derive(Clone, Copy, Default)]
struct Weather {
    /// How often the network has been cut: connections of an earlier time are gone.
    cuts: u64,
    /// Whether nothing goes through, while the connections stay.
    silent: bool,
}

impl Proxy {
    pub(crate) async fn start(to: SocketAddr) -> Result<Proxy> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let addr = listener.local_addr()?;
        let weather = watch::Sender::new(Weather::default());
        let seen = weather.subscribe();
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                // A master that is away refuses, and so the worker's connection ends.
                if let Ok(far) = TcpStream::connect(to).await {
                    let ((near_read, near_write), (far_read, far_write)) = (near.into_split(), far.into_split());
                    tokio::spawn(forward(near_read, far_write, seen.clone()));
                    tokio::spawn(forward(far_read, near_write, seen.clone()));
                }
            }
        });
        Ok(Proxy { addr, weather })
    }

    /// Ends every connection.
    pub(crate) fn cut(&self) {
        self.weather.send_modify(|weather| weather.cuts += 1);
    }

    /// Lets nothing through, or everything again.
    pub(crate) fn silence(&self, silent: bool) {
        self.weather.send_modify(|weather| weather.silent = silent);
    }
}

/// Forwards one direction until either end, or a cut.
async fn forward(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut weather: watch::Receiver<Weather>) {
    let cuts = weather.borrow_and_update().cuts;
    let mut cut = weather.clone();
    let is_cut = cut.wait_for(|weather| weather.cuts > cuts);
    let copy = async {
        let mut buffer = vec![0; 16 * 1024];
        while let Ok(length @ 1..) = from.read(&mut buffer).await {
            if weather.wait_for(|weather| !weather.silent).await.is_err()
                || to.write_all(&buffer[..length]).await.is_err()
            {
                return;
            }
        }
    };
    tokio::select! {
        () = copy => {}
        _ = is_cut => {}
    }
}
