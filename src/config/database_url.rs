//! Where the ledger is stored.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use url::Url;

/// Where a ledger is stored: `DATABASE_URL`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DatabaseUrl {
    /// A file, and its path.
    Sqlite(PathBuf),
    /// A database of a PostgreSQL server.
    Postgres(PostgresUrl),
}

/// The URL of a database. Shown without its password.
#[derive(Clone, PartialEq, Eq)]
pub struct PostgresUrl(Arc<Url>);

/// The values of `sslmode`.
const SSL_MODES: [&str; 6] = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"];

/// A URL that is not that of a PostgreSQL database, or not a safe one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParsePostgresUrlError {
    /// It is not `postgres://USER:PASSWORD@HOST/DATABASE`.
    #[error("is not the URL of a PostgreSQL database")]
    Malformed,
    /// It names several hosts, of which libpq would try one after the other.
    #[error("names more than one host")]
    SeveralHosts,
    /// `sslmode` is none that libpq knows.
    #[error("has an unknown sslmode")]
    SslMode,
    /// The host is reached over a public network without a verified certificate.
    #[error("has a public host, and does not verify its certificate")]
    Unverified,
}

impl DatabaseUrl {
    /// The path of the file, if it is one.
    pub fn file(&self) -> Option<&Path> {
        if let Self::Sqlite(path) = self { Some(path) } else { None }
    }
}

/// The path of the file, or the URL without its password.
impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => path.display().fmt(f),
            Self::Postgres(url) => url.fmt(f),
        }
    }
}

impl From<PathBuf> for DatabaseUrl {
    fn from(path: PathBuf) -> Self {
        Self::Sqlite(path)
    }
}

impl From<&Path> for DatabaseUrl {
    fn from(path: &Path) -> Self {
        Self::Sqlite(path.to_owned())
    }
}

impl From<&PathBuf> for DatabaseUrl {
    fn from(path: &PathBuf) -> Self {
        Self::Sqlite(path.clone())
    }
}

impl From<&Self> for DatabaseUrl {
    fn from(url: &Self) -> Self {
        url.clone()
    }
}

impl FromStr for PostgresUrl {
    type Err = ParsePostgresUrlError;

    fn from_str(text: &str) -> Result<Self, ParsePostgresUrlError> {
        let url = Url::parse(text).map_err(|_| ParsePostgresUrlError::Malformed)?;
        if !matches!(url.scheme(), "postgres" | "postgresql") || url.path().trim_matches('/').is_empty() {
            return Err(ParsePostgresUrlError::Malformed);
        }
        let parameter = |names: [&str; 2]| {
            let found = url.query_pairs().filter(|(name, _)| names.contains(&&**name)).last();
            found.map(|(_, value)| value.into_owned())
        };
        let host = parameter(["host", "hostaddr"]).or_else(|| url.host_str().map(str::to_owned));
        // Without a host the driver takes that of an environment variable.
        let host = host.filter(|host| !host.is_empty()).ok_or(ParsePostgresUrlError::Malformed)?;
        if host.contains(',') {
            return Err(ParsePostgresUrlError::SeveralHosts);
        }
        let mode = parameter(["sslmode", "ssl-mode"]);
        if mode.as_ref().is_some_and(|mode| !SSL_MODES.contains(&&**mode)) {
            return Err(ParsePostgresUrlError::SslMode);
        }
        let is_verified = mode.as_deref() == Some("verify-full");
        if is_verified || is_private(&host) { Ok(Self(Arc::new(url))) } else { Err(ParsePostgresUrlError::Unverified) }
    }
}

/// Whether the host is this machine, or on a network that is not public: a private address, a name without a dot, or one
/// that only private networks resolve.
fn is_private(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
    match host.parse() {
        Ok(IpAddr::V4(ip)) => ip.is_loopback() || ip.is_private(),
        Ok(IpAddr::V6(ip)) => ip.is_loopback() || ip.is_unique_local(),
        // A socket of this machine begins with a slash, which a URL writes as `%2F`.
        Err(_) => {
            host.starts_with('/')
                || host.starts_with("%2f")
                || !host.contains('.')
                || host.ends_with(".internal")
                || host.ends_with(".flycast")
        }
    }
}

impl PostgresUrl {
    /// The URL with its password.
    pub(crate) fn reveal(&self) -> &Url {
        &self.0
    }
}

impl fmt::Display for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = self.0.host_str().unwrap_or_default();
        write!(f, "postgres://{host}")?;
        if let Some(port) = self.0.port() {
            write!(f, ":{port}")?;
        }
        f.write_str(self.0.path())
    }
}

impl fmt::Debug for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_host_needs_a_verified_certificate() {
        for private in [
            "postgres://u:p@localhost/d",
            "POSTGRESQL://u:p@127.0.0.1:5433/d",
            "postgres://u@[fdaa::3]/d",
            "postgres://u:p@10.1.2.3/d",
            "postgres://u:p@db/d",
            "postgres://u:p@top1.nearest.of.db.internal/d",
            "postgres://u@%2Frun%2Fpostgresql/d",
            "postgres:///d?host=/run/postgresql",
            "postgres://u:p@db.example.com/d?sslmode=verify-full&sslrootcert=ca.pem",
        ] {
            assert!(private.parse::<PostgresUrl>().is_ok(), "{private}");
        }
        for (url, expected) in [
            ("postgres://u:p@db.example.com/d", ParsePostgresUrlError::Unverified),
            ("postgres://u:p@db.example.com/d?sslmode=require", ParsePostgresUrlError::Unverified),
            ("postgres://u:p@localhost/d?host=db.example.com", ParsePostgresUrlError::Unverified),
            ("postgres://u:p@8.8.8.8/d", ParsePostgresUrlError::Unverified),
            ("postgres://u:p@localhost/d?sslmode=full", ParsePostgresUrlError::SslMode),
            (
                "postgres://u:p@one.example.com,two.example.com/d?sslmode=verify-full",
                ParsePostgresUrlError::SeveralHosts,
            ),
            ("postgres:///d", ParsePostgresUrlError::Malformed),
            ("postgres://localhost", ParsePostgresUrlError::Malformed),
            ("mysql://localhost/d", ParsePostgresUrlError::Malformed),
        ] {
            assert_eq!(url.parse::<PostgresUrl>().unwrap_err(), expected, "{url}");
        }
    }

    #[test]
    fn the_password_is_not_shown() {
        let url: PostgresUrl = "postgres://user:hunter2@localhost:5433/ledger?password=hunter2".parse().unwrap();
        assert_eq!(format!("{url} {url:?}"), ["postgres://localhost:5433/ledger"; 2].join(" "));
    }
}
