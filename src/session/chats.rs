//! The registry of chats: from session id to the task that owns the chat.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, info_span};
use uuid::Uuid;

use super::SessionContext;
use super::chat::{Chat, ChatMessage, ChatRequest, ReplyPart};
use crate::usage_limits::UsageLimit;

/// How many reply parts are buffered for a slow client before the model stream is paused.
const REPLY_BUFFER: usize = 64;

/// The registry of chats. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Chats {
    // A std mutex, since it is held only for a look-up and never across an await.
    open: Arc<Mutex<HashMap<Uuid, ChatHandle>>>,
    draining: CancellationToken,
}

#[derive(Debug)]
struct ChatHandle {
    mailbox: mpsc::Sender<ChatRequest>,
    /// The holder may send a message; released when the reply has ended.
    turn: Arc<Semaphore>,
}

/// Why a message was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SendChatMessageError {
    /// No chat has this id.
    #[error("this sessionId is not, or no longer, known: leave it out to begin a new chat")]
    UnknownSession,
    /// The reply to an earlier message is still in progress.
    #[error("an earlier message of this chat is still being answered: send this one again afterwards")]
    Busy,
    /// Too many chats are open.
    #[error("there are too many chats at the moment: try again later, or raise Limits.chats in serverConfig.json")]
    TooManyChats,
    /// The server is draining.
    #[error("the server is stopping and takes no new messages: try again in a minute")]
    ServerStopping,
}

impl Chats {
    /// Creates an empty registry. Once `draining` is cancelled no message is accepted, and idle chats end.
    pub(crate) fn new(draining: CancellationToken) -> Self {
        Self { open: Arc::default(), draining }
    }

    /// Sends a message to the chat with this id, or to a new one, and returns the id and the stream of reply parts.
    /// Dropping the receiver stops the model.
    pub(crate) fn send(
        &self,
        context: &Arc<SessionContext>,
        id: Option<Uuid>,
        message: ChatMessage,
    ) -> Result<(Uuid, mpsc::Receiver<ReplyPart>), SendChatMessageError> {
        if self.draining.is_cancelled() {
            return Err(SendChatMessageError::ServerStopping);
        }
        let mut open = self.lock();
        let id = match id {
            Some(id) => id,
            None => self.open_chat(context, &mut open)?,
        };
        let handle = open.get(&id).ok_or(SendChatMessageError::UnknownSession)?;
        let turn = handle.turn.clone().try_acquire_owned().map_err(|_| SendChatMessageError::Busy)?;
        let (replies, reply) = mpsc::channel(REPLY_BUFFER);
        // The permit guarantees room in the mailbox, so sending fails only if the chat has just ended.
        handle
            .mailbox
            .try_send(ChatRequest { message, replies, turn })
            .map_err(|_| SendChatMessageError::UnknownSession)?;
        Ok((id, reply))
    }

    fn open_chat(
        &self,
        context: &Arc<SessionContext>,
        open: &mut HashMap<Uuid, ChatHandle>,
    ) -> Result<Uuid, SendChatMessageError> {
        if open.len() >= context.assets.library().server.usage_limits.chats {
            context.usage.monitor.report(UsageLimit::Chats);
            return Err(SendChatMessageError::TooManyChats);
        }
        let id = Uuid::new_v4();
        let (mailbox, requests) = mpsc::channel(1);
        open.insert(id, ChatHandle { mailbox, turn: Arc::new(Semaphore::new(1)) });
        let slot = ChatSlot { chats: self.clone(), id };
        let chat = Chat::new(context.clone(), id);
        let draining = self.draining.clone();
        let task = async move {
            chat.run(requests, draining).await;
            drop(slot);
        };
        context.tasks.spawn(task.instrument(info_span!("chat", %id)));
        Ok(id)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Uuid, ChatHandle>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A chat's entry in the registry. Dropping it removes the entry.
struct ChatSlot {
    chats: Chats,
    id: Uuid,
}

impl Drop for ChatSlot {
    fn drop(&mut self) {
        self.chats.lock().remove(&self.id);
    }
}

#[cfg(test)]
mod tests;
