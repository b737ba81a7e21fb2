//! The wire between a server and its database, which can be cut, frozen and healed.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

/// The size of what is read at once.
const CHUNK: usize = 16 * 1024;

/// The statement as the protocol has it, which ends texts with a NUL.
const COMMIT: &[u8] = b"COMMIT\0";

/// What the wire does with what it is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WireState {
    /// It carries everything.
    Whole,
    /// It carries nothing, but stays connected.
    Frozen,
    /// It is not connected.
    Cut,
    /// It carries a commit to the database, and is cut before its answer comes back.
    CutAfterCommit,
    /// It freezes with a commit, which the database does not get.
    FrozenAtCommit,
}

/// A wire that is removed on drop.
#[derive(Debug)]
pub struct DatabaseWire {
    address: SocketAddr,
    state: Arc<watch::Sender<WireState>>,
    database: Arc<Mutex<SocketAddr>>,
    _task: AbortOnDropHandle<()>,
}

impl DatabaseWire {
    /// A wire to this address.
    pub async fn to(database: SocketAddr) -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let state = Arc::new(watch::Sender::new(WireState::Whole));
        let database = Arc::new(Mutex::new(database));
        let (of_task, end) = (state.clone(), database.clone());
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if *of_task.borrow() != WireState::Cut {
                    let database = *end.lock().unwrap_or_else(PoisonError::into_inner);
                    tokio::spawn(carry(client, database, of_task.clone()));
                }
            }
        });
        Ok(Self { address, state, database, _task: AbortOnDropHandle::new(task) })
    }

    /// The address of its near end.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Leads new connections to another address.
    pub fn lead_to(&self, database: SocketAddr) {
        *self.database.lock().unwrap_or_else(PoisonError::into_inner) = database;
    }

    /// Changes what it does.
    pub fn set(&self, state: WireState) {
        self.state.send_replace(state);
    }

    /// Waits until it is in this state.
    pub async fn wait_for(&self, state: WireState) {
        let _ = self.state.subscribe().wait_for(|now| *now == state).await;
    }
}

/// Carries a connection until one side closes it or the wire is cut.
async fn carry(mut client: TcpStream, database: SocketAddr, state: Arc<watch::Sender<WireState>>) {
    let Ok(mut server) = TcpStream::connect(database).await else { return };
    let mut changes = state.subscribe();
    let (mut asked, mut answered) = (vec![0; CHUNK], vec![0; CHUNK]);
    loop {
        let is_open = match *changes.borrow_and_update() {
            WireState::Cut => return,
            state => state != WireState::Frozen,
        };
        tokio::select! {
            _ = changes.changed() => {}
            read = client.read(&mut asked), if is_open => {
                let Ok(count @ 1..) = read else { return };
                let is_commit = asked[..count].windows(COMMIT.len()).any(|part| part == COMMIT);
                if is_commit && *state.borrow() == WireState::FrozenAtCommit {
                    state.send_replace(WireState::Frozen);
                    continue;
                }
                if server.write_all(&asked[..count]).await.is_err() {
                    return;
                }
                if is_commit && *state.borrow() == WireState::CutAfterCommit {
                    // The answer shows that the database has committed.
                    let _ = server.read(&mut answered).await;
                    state.send_replace(WireState::Cut);
                    return;
                }
            }
            read = server.read(&mut answered), if is_open => {
                let Ok(count @ 1..) = read else { return };
                if client.write_all(&answered[..count]).await.is_err() {
                    return;
                }
            }
        }
    }
}
