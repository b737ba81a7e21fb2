//! The servers that share the ledger. Each adds one to its beat every two seconds; who sees a beat stand still decides for
//! itself that its server is gone. No clock of another machine is compared with anything.

use sqlx::Row as _;

use super::{Ledger, LedgerError};
use crate::server_id::ServerId;

/// A server as the ledger knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServerRecord {
    /// The server.
    pub(crate) id: ServerId,
    /// Where other servers reach it: a scheme, a host and a port.
    pub(crate) address: String,
    /// How often it has said that it lives.
    pub(crate) beat: i64,
    /// Whether it stops, and takes no new calls.
    pub(crate) is_draining: bool,
}

impl Ledger {
    /// Says that a server lives. Returns all servers.
    pub(crate) async fn beat(
        &self,
        server: ServerId,
        address: &str,
        is_draining: bool,
    ) -> Result<Vec<ServerRecord>, LedgerError> {
        let mut writing = self.begin_write().await?;
        writing.transaction.set_repeatable();
        let beat = "INSERT INTO servers (id, address, draining, beat) VALUES ($1, $2, $3, 1) \
                    ON CONFLICT (id) DO UPDATE SET beat = servers.beat + 1, draining = excluded.draining";
        sqlx::query(beat)
            .bind(server.to_string())
            .bind(address)
            .bind(i64::from(is_draining))
            .execute(&mut writing.transaction)
            .await?;
        let rows =
            sqlx::query("SELECT id, address, beat, draining FROM servers").fetch_all(&mut writing.transaction).await?;
        writing.commit().await?;
        let parse = |row: &sqlx::any::AnyRow| {
            let id: String = row.try_get(0)?;
            let id = id.parse().map_err(|_| LedgerError::Unreadable("a server"))?;
            let is_draining = row.try_get::<i64, _>(3)? != 0;
            Ok(ServerRecord { id, address: row.try_get(1)?, beat: row.try_get(2)?, is_draining })
        };
        rows.iter().map(parse).collect()
    }

    /// Says that a server has the file alone: the calls of those before it have no server any more.
    pub(crate) async fn replace_servers(&self, server: ServerId) -> Result<(), LedgerError> {
        let mut writing = self.begin_write().await?;
        sqlx::query("DELETE FROM servers").execute(&mut writing.transaction).await?;
        let insert = sqlx::query("INSERT INTO servers (id, address, beat) VALUES ($1, '', 0)").bind(server.to_string());
        insert.execute(&mut writing.transaction).await?;
        writing.commit().await
    }

    /// The address of a server.
    pub(crate) async fn find_server(&self, server: ServerId) -> Result<Option<String>, LedgerError> {
        let query = sqlx::query_scalar("SELECT address FROM servers WHERE id = $1").bind(server.to_string());
        Ok(query.fetch_optional(&self.0.readers).await?)
    }

    /// Removes a server that stops.
    pub(crate) async fn remove_server(&self, server: ServerId) -> Result<(), LedgerError> {
        let mut writing = self.begin_write().await?;
        let remove = sqlx::query("DELETE FROM servers WHERE id = $1").bind(server.to_string());
        remove.execute(&mut writing.transaction).await?;
        writing.commit().await
    }

    /// Removes a server that is gone and has no calls left. One that comes back adds itself again.
    pub(crate) async fn remove_dead_server(&self, server: &ServerRecord) -> Result<(), LedgerError> {
        let mut writing = self.begin_write().await?;
        let remove = "DELETE FROM servers WHERE id = $1 AND beat = $2 \
                      AND NOT EXISTS (SELECT 1 FROM calls WHERE owner = servers.id)";
        let remove = sqlx::query(remove).bind(server.id.to_string()).bind(server.beat);
        remove.execute(&mut writing.transaction).await?;
        writing.commit().await
    }
}
