//! A wire between a worker and its master that a test can cut.

use std::net::SocketAddr;

use anyhow::Result;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// A wire to an address. While it is cut it carries nothing: what is connected is cut off, and who connects is too.
pub struct Wire {
    addr: SocketAddr,
    cut: watch::Sender<bool>,
}

impl Wire {
    /// A wire to `target`.
    ///
    /// # Errors
    /// When there is no port for it.
    pub async fn to(target: SocketAddr) -> Result<Wire> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let addr = listener.local_addr()?;
        let cut = watch::Sender::new(false);
        tokio::spawn(accept(listener, target, cut.clone()));
        Ok(Wire { addr, cut })
    }

    /// Its near end.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Cuts it.
    pub fn cut(&self) {
        self.cut.send_replace(true);
    }

    /// Mends it.
    pub fn mend(&self) {
        self.cut.send_replace(false);
    }
}

async fn accept(listener: TcpListener, target: SocketAddr, cut: watch::Sender<bool>) {
    while let Ok((near, _)) = listener.accept().await {
        let mut state = cut.subscribe();
        tokio::spawn(async move {
            tokio::select! {
                _ = state.wait_for(|cut| *cut) => {}
                () = carry(near, target) => {}
            }
        });
    }
}

async fn carry(mut near: TcpStream, target: SocketAddr) {
    if let Ok(mut far) = TcpStream::connect(target).await {
        // Who is cut off sees it.
        _ = copy_bidirectional(&mut near, &mut far).await;
    }
}
