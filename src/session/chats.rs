//! The chats: from session id to the task that owns the conversation.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, info_span};
use uuid::Uuid;

use super::Context;
use super::chat::{Chat, Message, Reply};

/// How many chats there may be at once.
const MAX_CHATS: usize = 1_000;

/// Tokens that a reader may leave unread; beyond it the model is made to wait.
const UNREAD: usize = 64;

/// All chats. Clones share them.
#[derive(Debug, Clone)]
pub struct Chats {
    // A std mutex: it is held for a look-up, never across an await.
    open: Arc<Mutex<HashMap<Uuid, Handle>>>,
    draining: CancellationToken,
}

#[derive(Debug)]
struct Handle {
    mailbox: mpsc::Sender<Ask>,
    /// Whoever holds it may speak; it is given back when the reply has ended.
    turn: Arc<Semaphore>,
}

/// Something that is said in a chat.
#[derive(Debug)]
pub(super) struct Ask {
    pub(super) message: Message,
    pub(super) replies: mpsc::Sender<Reply>,
    /// The right to speak, held as long as the ask lives.
    pub(super) turn: OwnedSemaphorePermit,
}

/// Why nothing was said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotSaid {
    /// No such chat.
    #[error("this sessionId is not, or no longer, known: leave it out to begin a new chat")]
    Unknown,
    /// The reply to an earlier message is still under way.
    #[error("an earlier message of this chat is still being answered: send this one again afterwards")]
    Busy,
    /// Too many chats.
    #[error("there are too many chats at the moment: try again later")]
    Full,
    /// The server stops.
    #[error("the server is stopping and takes no new messages: try again in a minute")]
    Draining,
}

impl Chats {
    /// No chats yet. Once `draining` is cancelled none is taken up, and those that wait for a message end.
    pub fn new(draining: CancellationToken) -> Self {
        Self { open: Arc::default(), draining }
    }

    /// Says something in the chat of this id, or in a new one, and hands out the reply as it comes. Dropping the receiver
    /// stops the model.
    pub fn say(
        &self,
        context: &Arc<Context>,
        id: Option<Uuid>,
        message: Message,
    ) -> Result<(Uuid, mpsc::Receiver<Reply>), NotSaid> {
        if self.draining.is_cancelled() {
            return Err(NotSaid::Draining);
        }
        let mut open = self.lock();
        let id = match id {
            Some(id) => id,
            None => self.begin(context, &mut open)?,
        };
        let handle = open.get(&id).ok_or(NotSaid::Unknown)?;
        let turn = handle.turn.clone().try_acquire_owned().map_err(|_| NotSaid::Busy)?;
        let (replies, reply) = mpsc::channel(UNREAD);
        // There is room for the one who has the turn: it fails only if the chat has just ended.
        handle.mailbox.try_send(Ask { message, replies, turn }).map_err(|_| NotSaid::Unknown)?;
        Ok((id, reply))
    }

    fn begin(&self, context: &Arc<Context>, open: &mut HashMap<Uuid, Handle>) -> Result<Uuid, NotSaid> {
        if open.len() >= MAX_CHATS {
            return Err(NotSaid::Full);
        }
        let id = Uuid::new_v4();
        let (mailbox, asks) = mpsc::channel(1);
        open.insert(id, Handle { mailbox, turn: Arc::new(Semaphore::new(1)) });
        let place = Place { chats: self.clone(), id };
        let chat = Chat::begin(context.clone(), id);
        let draining = self.draining.clone();
        let life = async move {
            chat.live(asks, draining).await;
            drop(place);
        };
        context.tasks.spawn(life.instrument(info_span!("chat", %id)));
        Ok(id)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Uuid, Handle>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A chat's place among the others; it is given up with the value.
struct Place {
    chats: Chats,
    id: Uuid,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.chats.lock().remove(&self.id);
    }
}

#[cfg(test)]
mod tests;
