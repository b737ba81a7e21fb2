//! The lease: a database row that names the server that uses the ledger. Every write of a server checks it.

use jiff::Timestamp;
use sqlx::{AnyConnection, AnyExecutor};
use tracing::warn;
use uuid::Uuid;

use super::database::FileIdentity;

/// The lease of this server.
#[derive(Debug)]
pub(super) struct Lease {
    owner: String,
    epoch: i64,
}

/// A lease that could not be taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum TakeLeaseError {
    /// The last owner had opened another file: this one is a copy.
    #[error("the file is a copy")]
    Copied,
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

impl Lease {
    /// Takes the lease of a file that no other server has locked.
    ///
    /// If the last owner had opened this file, it has stopped. If it had opened another one, this file is a copy, and a
    /// server may use the original even if it was stopped when the copy was made: then the lease is taken only with
    /// `take_over`.
    pub(super) async fn take(
        connection: &mut AnyConnection,
        identity: FileIdentity,
        take_over: bool,
    ) -> Result<Self, TakeLeaseError> {
        sqlx::query("BEGIN IMMEDIATE").execute(&mut *connection).await?;
        let row = "INSERT OR IGNORE INTO lease (id, owner, epoch, beat, beat_at, inode) VALUES (1, NULL, 0, 0, 0, 0)";
        sqlx::query(row).execute(&mut *connection).await?;
        let last = sqlx::query_as("SELECT owner, epoch, inode, born FROM lease WHERE id = 1");
        let (last, epoch, inode, born): (Option<String>, i64, i64, Option<i64>) =
            last.fetch_one(&mut *connection).await?;
        let is_new = last.is_none() && inode == 0;
        if !is_new && !identity.is_same_file(inode, born) {
            if !take_over {
                return Err(TakeLeaseError::Copied);
            }
            warn!(event = "ledger.taken_over", "The ledger of another server is taken over.");
        }
        let lease = Self { owner: Uuid::new_v4().to_string(), epoch: epoch + 1 };
        sqlx::query(
            "UPDATE lease SET owner = $1, epoch = $2, beat = 0, beat_at = $3, inode = $4, born = $5 WHERE id = 1",
        )
        .bind(lease.owner.clone())
        .bind(lease.epoch)
        .bind(Timestamp::now().as_millisecond())
        .bind(identity.inode())
        .bind(identity.created_ns())
        .execute(&mut *connection)
        .await?;
        sqlx::query("COMMIT").execute(&mut *connection).await?;
        Ok(lease)
    }

    /// Whether this server still has the lease.
    pub(super) async fn is_held(&self, connection: impl AnyExecutor<'_>) -> Result<bool, sqlx::Error> {
        let held = sqlx::query("SELECT 1 FROM lease WHERE id = 1 AND owner = $1 AND epoch = $2");
        Ok(held.bind(self.owner.clone()).bind(self.epoch).fetch_optional(connection).await?.is_some())
    }

    /// Renews the lease: increments `beat`.
    pub(super) async fn renew(&self, connection: impl AnyExecutor<'_>) -> Result<(), sqlx::Error> {
        sqlx::query("UPDATE lease SET beat = beat + 1, beat_at = $1 WHERE id = 1 AND owner = $2 AND epoch = $3")
            .bind(Timestamp::now().as_millisecond())
            .bind(self.owner.clone())
            .bind(self.epoch)
            .execute(connection)
            .await?;
        Ok(())
    }

    /// Releases the lease if this server still has it.
    pub(super) async fn release(&self, connection: impl AnyExecutor<'_>) -> Result<(), sqlx::Error> {
        sqlx::query("UPDATE lease SET owner = NULL WHERE id = 1 AND owner = $1 AND epoch = $2")
            .bind(self.owner.clone())
            .bind(self.epoch)
            .execute(connection)
            .await?;
        Ok(())
    }
}
