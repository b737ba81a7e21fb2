//! Statements with an end: a database at the other end of a network that no longer answers holds nobody up.

use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream, StreamExt as _};
use sqlx::any::{AnyQueryResult, AnyRow, AnyStatement, AnyTypeInfo};
use sqlx::{Any, AnyPool, Either, Error, Execute, Executor, SqlStr};
use tokio::time::timeout;

use super::connection::{WriteTransaction, timed_out};

/// How long a statement that reads may take on the way to PostgreSQL and back.
pub(super) const READ_LIMIT: Duration = Duration::from_secs(10);

/// How long one that writes may take. PostgreSQL itself gives up a little earlier.
const WRITE_LIMIT: Duration = Duration::from_millis(2_500);

/// The connections that only read.
#[derive(Debug)]
pub(super) struct Readers {
    pub(super) pool: AnyPool,
    /// Whether they reach over a network.
    pub(super) is_remote: bool,
}

impl Readers {
    fn limit(&self) -> Option<Duration> {
        self.is_remote.then_some(READ_LIMIT)
    }
}

impl WriteTransaction {
    fn limit(&self) -> Option<Duration> {
        self.is_remote().then_some(WRITE_LIMIT)
    }
}

/// Implements `Executor` for a type with a connection or a pool and a limit.
macro_rules! impl_executor {
    ($type:ty, $this:ident => $inner:expr) => {
        impl<'c> Executor<'c> for $type {
            type Database = Any;

            fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> BoxStream<'e, Result<Either<AnyQueryResult, AnyRow>, Error>>
            where
                'c: 'e,
                E: 'q + Execute<'q, Any>,
            {
                let (limit, $this) = (self.limit(), self);
                limit_rows(limit, $inner.fetch_many(query))
            }

            fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Option<AnyRow>, Error>>
            where
                'c: 'e,
                E: 'q + Execute<'q, Any>,
            {
                let (limit, $this) = (self.limit(), self);
                limit_answer(limit, $inner.fetch_optional(query))
            }

            fn prepare_with<'e>(
                self,
                sql: SqlStr,
                parameters: &'e [AnyTypeInfo],
            ) -> BoxFuture<'e, Result<AnyStatement, Error>>
            where
                'c: 'e,
            {
                let (limit, $this) = (self.limit(), self);
                limit_answer(limit, $inner.prepare_with(sql, parameters))
            }
        }
    };
}

impl_executor!(&'c Readers, readers => &readers.pool);
impl_executor!(&'c mut WriteTransaction, writing => writing.connection());

fn limit_answer<'e, T: Send + 'e>(
    limit: Option<Duration>,
    answer: BoxFuture<'e, Result<T, Error>>,
) -> BoxFuture<'e, Result<T, Error>> {
    match limit {
        Some(limit) => Box::pin(async move { timeout(limit, answer).await.unwrap_or_else(|_| Err(timed_out())) }),
        None => answer,
    }
}

fn limit_rows<'e, T: Send + 'e>(
    limit: Option<Duration>,
    rows: BoxStream<'e, Result<T, Error>>,
) -> BoxStream<'e, Result<T, Error>> {
    let Some(limit) = limit else { return rows };
    let rows = stream::unfold(Some(rows), move |rows| async move {
        let mut rows = rows?;
        match timeout(limit, rows.next()).await {
            Ok(row) => Some((row?, Some(rows))),
            Err(_) => Some((Err(timed_out()), None)),
        }
    });
    rows.boxed()
}
