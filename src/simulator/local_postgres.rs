//! A PostgreSQL server of this process, for tests of the ledger: in a temporary directory, on a free port of loopback. It
//! ends with the process, however that ends.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

/// The variable that makes a missing PostgreSQL an error: `required`.
const REQUIRED: &str = "CRELAY_POSTGRES";

/// Where Debian has the programs of a server, of each version.
const DEBIAN: &str = "/usr/lib/postgresql";

/// The user that root runs the server as, since it refuses root.
const USER: &str = "postgres";

/// Stops the server and removes its directory once the standard input ends, which it does with the process.
const WATCH: &str = r#"read -r _; "$1/pg_ctl" -D "$2/data" -m immediate stop >/dev/null 2>&1; rm -rf "$2""#;

/// Kills a server and all its processes at once, as a machine dies.
const KILL: &str = r#"kill -STOP "$1" && pkill -KILL -P "$1"; kill -KILL "$1""#;

/// How long a standby may take to follow its primary.
const PATIENCE: Duration = Duration::from_secs(20);

/// Not for what must survive a crash of the machine.
const SETTINGS: &str = "-c fsync=off -c max_connections=300 -c listen_addresses=127.0.0.1";

/// A running server.
#[derive(Debug)]
pub struct LocalPostgres {
    port: u16,
    directory: PathBuf,
    programs: PathBuf,
    databases: AtomicU32,
    _watch: Child,
}

impl LocalPostgres {
    /// The server of this process, which the first call starts. `None`, and a line that says so, if PostgreSQL is not
    /// installed.
    ///
    /// # Panics
    ///
    /// If it cannot be started, or is not installed and `CRELAY_POSTGRES` is `required`.
    pub fn get() -> Option<&'static Self> {
        static SERVER: OnceLock<Option<LocalPostgres>> = OnceLock::new();
        let programs = find_programs();
        SERVER.get_or_init(|| programs.map(|programs| Self::start(programs).expect("PostgreSQL starts"))).as_ref()
    }

    /// A server of the caller's own, which ends on drop. `None`, and a line that says so, if PostgreSQL is not installed.
    ///
    /// # Panics
    ///
    /// If it is not installed and `CRELAY_POSTGRES` is `required`.
    pub fn start_own() -> anyhow::Result<Option<Self>> {
        find_programs().map(Self::start).transpose()
    }

    /// A primary, and a standby that confirms each of its commits. `None`, and a line that says so, if PostgreSQL is not
    /// installed.
    pub async fn start_pair() -> anyhow::Result<Option<(Self, Self)>> {
        let Some(primary) = Self::start_own()? else { return Ok(None) };
        let programs = primary.programs.clone();
        let directory = create_directory()?;
        let mut copy = as_user(&programs.join("pg_basebackup"));
        let source = format!("--dbname=host=127.0.0.1 port={} user=postgres", primary.port);
        run(copy.args([&source, "-R", "--checkpoint=fast", "--no-sync", "-D"]).arg(directory.join("data")))?;
        let standby = Self::start_in(programs, directory)?;
        // After the copy: the standby waits for nobody once it is promoted.
        let mut connection = PgConnection::connect(&primary.url("postgres")).await?;
        sqlx::raw_sql("ALTER SYSTEM SET synchronous_standby_names = '*'").execute(&mut connection).await?;
        sqlx::raw_sql("SELECT pg_reload_conf()").execute(&mut connection).await?;
        let follows = async {
            let query = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'";
            while sqlx::query_scalar::<_, i64>(query).fetch_one(&mut connection).await? == 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            connection.close().await
        };
        tokio::time::timeout(PATIENCE, follows).await.context("the standby does not follow")??;
        Ok(Some((primary, standby)))
    }

    fn start(programs: PathBuf) -> anyhow::Result<Self> {
        let directory = create_directory()?;
        let create = ["--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C", "--no-sync"];
        run(as_user(&programs.join("initdb")).args(create).arg("-D").arg(directory.join("data")))?;
        Self::start_in(programs, directory)
    }

    fn start_in(programs: PathBuf, directory: PathBuf) -> anyhow::Result<Self> {
        let data = directory.join("data");
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let options = format!("{SETTINGS} -p {port} -k {}", directory.display());
        let mut start = as_user(&programs.join("pg_ctl"));
        run(start.arg("-D").arg(&data).arg("-l").arg(directory.join("log")).args(["-w", "-o", &options, "start"]))?;
        let mut watch = as_user(Path::new("sh"));
        let watch = watch.args(["-c", WATCH, "sh"]).arg(&programs).arg(&directory);
        let watch = watch.stdin(Stdio::piped()).spawn().context("cannot watch PostgreSQL")?;
        Ok(Self { port, directory, programs, databases: AtomicU32::new(0), _watch: watch })
    }

    /// Creates an empty database, and returns its URL.
    pub async fn create_database(&self) -> anyhow::Result<String> {
        let name = format!("ledger_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        let mut connection = PgConnection::connect(&self.url("postgres")).await?;
        sqlx::raw_sql(AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&mut connection).await?;
        connection.close().await?;
        Ok(self.url(&name))
    }

    /// The URL of a database.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// The directory with the files of the server and its log.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// Stops the server as a power failure would, and starts it again.
    pub fn crash(&self) -> anyhow::Result<()> {
        let mut restart = as_user(&self.programs.join("pg_ctl"));
        run(restart.arg("-D").arg(self.directory.join("data")).args(["-w", "-m", "immediate", "restart"]))
    }

    /// Ends the server with all its processes at once, as its machine dies.
    pub fn kill(&self) -> anyhow::Result<()> {
        let pid = fs::read_to_string(self.directory.join("data/postmaster.pid"))?;
        let pid = pid.lines().next().context("the server has an id")?;
        run(as_user(Path::new("sh")).args(["-c", KILL, "sh", pid]))
    }

    /// Makes a standby take writes.
    pub fn promote(&self) -> anyhow::Result<()> {
        let mut promote = as_user(&self.programs.join("pg_ctl"));
        run(promote.arg("-D").arg(self.directory.join("data")).args(["-w", "promote"]))
    }
}

/// The directory of a new server.
fn create_directory() -> anyhow::Result<PathBuf> {
    let directory = super::create_temporary_directory()?.keep();
    if is_root() {
        run(Command::new("chown").arg(USER).arg(&directory))?;
    }
    Ok(directory)
}

/// The directory with the programs of the newest version. `None`, and a line that says so, if there is none.
fn find_programs() -> Option<PathBuf> {
    let programs = find_newest();
    if programs.is_none() {
        #[expect(clippy::disallowed_methods, reason = "a switch of the tests, not of the server")]
        let is_required = std::env::var_os(REQUIRED).is_some_and(|value| value == "required");
        assert!(!is_required, "PostgreSQL is not installed: apt-get install postgresql");
        eprintln!("left out: PostgreSQL is not installed");
    }
    programs
}

fn find_newest() -> Option<PathBuf> {
    let versions = fs::read_dir(DEBIAN).into_iter().flatten().flatten();
    let version = |directory: &PathBuf| directory.file_name()?.to_str()?.parse::<u32>().ok();
    let newest = versions.map(|entry| entry.path()).max_by_key(version).map(|path| path.join("bin"));
    let elsewhere = ["/usr/local/bin", "/usr/bin", "/opt/homebrew/bin"].map(PathBuf::from);
    newest.into_iter().chain(elsewhere).find(|directory| directory.join("initdb").exists())
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

/// A command that does not run as root.
fn as_user(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    if is_root() {
        command.args(["--reuid", USER, "--regid", USER, "--clear-groups"]).arg(program);
    } else {
        command = Command::new(program);
    }
    command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let status = command.status().with_context(|| format!("cannot run {command:?}"))?;
    anyhow::ensure!(status.success(), "{command:?} failed: {status}");
    Ok(())
}
