//! PgBouncer in transaction mode between the servers and PostgreSQL.

use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crelay_payments::simulator::LocalPostgres;
use futures_util::future::join_all;
use tempfile::TempDir;
use tokio::net::TcpStream;

use super::Fleet;

/// The first version that keeps the prepared statements of its clients apart in transaction mode.
const FIRST_VERSION: (u32, u32) = (1, 21);

/// Fewer connections than the servers have, so that each of theirs gets now one and now another.
const CONNECTIONS: u32 = 4;

/// A pooler, which ends on drop.
struct Pooler {
    port: u16,
    process: Child,
    _directory: TempDir,
}

impl Pooler {
    /// Starts a pooler. `None`, and a line that says so, if none is installed that is new enough.
    async fn start(server: &LocalPostgres) -> Option<Self> {
        if installed_version().is_none_or(|version| version < FIRST_VERSION) {
            eprintln!("left out: PgBouncer {}.{} or newer is not installed", FIRST_VERSION.0, FIRST_VERSION.1);
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let [users, settings] = ["users", "settings"].map(|name| directory.path().join(name));
        // It refuses to run as root, and runs as this user then.
        let user = if rustix::process::geteuid().is_root() { "user = postgres" } else { "" };
        let text = format!(
            "[databases]\n* = host=127.0.0.1 port={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             unix_socket_dir =\nauth_type = trust\nauth_file = {}\npool_mode = transaction\n\
             default_pool_size = {CONNECTIONS}\nmax_prepared_statements = 100\n\
             ignore_startup_parameters = extra_float_digits\n{user}\n",
            server.address().port(),
            users.display()
        );
        fs::write(&users, "\"postgres\" \"\"\n").unwrap();
        fs::write(&settings, text).unwrap();
        fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).unwrap();
        let mut command = Command::new("pgbouncer");
        let process = command.arg(&settings).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Some(Self { port, process, _directory: directory })
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The version of PgBouncer, if it is installed.
fn installed_version() -> Option<(u32, u32)> {
    let output = Command::new("pgbouncer").arg("--version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let mut numbers = text.strip_prefix("PgBouncer ")?.split('.').map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payment_call_needs_no_session_of_its_own_in_postgresql() {
    let Some(mut fleet) = Fleet::start(None).await else { return };
    let server = LocalPostgres::get().unwrap();
    let Some(pooler) = Pooler::start(server).await else { return };
    fleet.database = fleet.database.replace(&server.address().to_string(), &format!("127.0.0.1:{}", pooler.port));
    // They migrate at the same time.
    let servers = join_all((0..3).map(|_| fleet.serve())).await;
    let mut answered = Vec::new();
    fleet.call.run_call(&servers[0].server, &servers[1].server, str::to_owned, &mut answered).await.unwrap();
    assert_eq!(answered.len(), 5, "each is answered: {answered:?}");
    fleet.wait_for_state(&servers[2].server, &["charged"]).await;
    fleet.call.check_finished(&servers[1].server, &answered).await;
    for server in servers {
        assert!(!server.log().contains("ledger.write_failed"), "{}", server.log());
    }
}
