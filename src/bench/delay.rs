//! A network path with a delay: bytes arrive in the order in which they were sent, each half a round trip later.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

/// The most that is read at once, in bytes.
const PIECE_BYTES: usize = 16 * 1024;

/// The pieces that are on their way in one direction: enough for all that a model sends in a second.
const PIECES: usize = 1024;

/// The path to a server, on a port of its own. It takes no new connections once it is dropped.
#[derive(Debug)]
pub(super) struct DelayedPath {
    /// Where a client connects to.
    pub(super) address: SocketAddr,
    task: JoinHandle<()>,
}

impl DelayedPath {
    /// Opens the path to `server`.
    pub(super) async fn open(server: SocketAddr, round_trip: Duration) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(connect(client, server, round_trip));
            }
        });
        Ok(Self { address, task })
    }
}

impl Drop for DelayedPath {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Connects a client, whose connection takes a round trip to open.
async fn connect(client: TcpStream, server: SocketAddr, round_trip: Duration) {
    tokio::time::sleep(round_trip).await;
    let Ok(server) = TcpStream::connect(server).await else { return };
    let _ = client.set_nodelay(true).and_then(|()| server.set_nodelay(true));
    let (client_reads, client_writes) = client.into_split();
    let (server_reads, server_writes) = server.into_split();
    tokio::join!(
        pass_on(client_reads, server_writes, round_trip / 2),
        pass_on(server_reads, client_writes, round_trip / 2)
    );
}

/// Passes on the bytes of one direction, and then its end.
async fn pass_on(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, delay: Duration) {
    let (sender, mut pieces) = mpsc::channel::<(Instant, Vec<u8>)>(PIECES);
    let read = async move {
        loop {
            let mut piece = Vec::with_capacity(PIECE_BYTES);
            match from.read_buf(&mut piece).await {
                Ok(read) if read > 0 => {
                    piece.shrink_to_fit();
                    if sender.send((Instant::now() + delay, piece)).await.is_err() {
                        return;
                    }
                }
                _ => return,
            }
        }
    };
    let write = async move {
        while let Some((due, piece)) = pieces.recv().await {
            sleep_until(due).await;
            if to.write_all(&piece).await.is_err() {
                return;
            }
        }
        let _ = to.shutdown().await;
    };
    tokio::join!(read, write);
}
