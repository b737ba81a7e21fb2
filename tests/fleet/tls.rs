//! A server of PostgreSQL that lets nobody in without TLS and a password.

use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use crelay_payments::simulator::{LocalPostgres, QueuedOpenAi};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use super::{SEALING_KEY, WorkDir};
use crate::server::REQUIRED_VARS;
use crate::stand_ins::StandIns;

/// The password, and how a URL has it.
const PASSWORD: (&str, &str) = ("se/cr@t of a role", "se%2Fcr%40t%20of%20a%20role");

/// A certificate authority of the test's own. Returns it as PEM, and what signs with it.
fn certificate_authority() -> (String, Issuer<'static, KeyPair>) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    (params.self_signed(&key).unwrap().pem(), Issuer::new(params, key))
}

/// Makes the server ask for TLS, with a certificate for 127.0.0.1, and for the password. Its processes write its files, which
/// have to be their own.
async fn require_tls(database: &str, authority: &Issuer<'static, KeyPair>) {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap().signed_by(&key, authority).unwrap();
    let write = |name: &str, text: &str| {
        let lines = format!("SELECT unnest(string_to_array($text${}$text$, chr(10)))", text.trim_end());
        format!("COPY ({lines}) TO PROGRAM 'umask 077; cat > {name}'")
    };
    let mut connection = PgConnection::connect(database).await.unwrap();
    let name = database.rsplit_once('/').unwrap().1;
    for statement in [
        format!("CREATE ROLE crelay LOGIN PASSWORD '{}'", PASSWORD.0),
        format!("ALTER DATABASE {name} OWNER TO crelay"),
        write("server.crt", &certificate.pem()),
        write("server.key", &key.serialize_pem()),
        write("pg_hba.conf", "hostssl all crelay 127.0.0.1/32 scram-sha-256"),
        "ALTER SYSTEM SET ssl = on".to_owned(),
        "SELECT pg_reload_conf()".to_owned(),
    ] {
        sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut connection).await.unwrap();
    }
}

/// Writes a file that only this user reads.
fn write_secret(directory: &Path, name: &str, text: &str) -> PathBuf {
    let path = directory.join(name);
    let file = std::fs::OpenOptions::new().create_new(true).write(true).mode(0o600).open(&path);
    std::io::Write::write_all(&mut file.unwrap(), text.as_bytes()).unwrap();
    path
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_with_tls_and_a_password_of_a_file_is_used_and_another_certificate_refused() {
    let Some(server) = LocalPostgres::start_own().unwrap() else { return };
    let directory = tempfile::tempdir().unwrap();
    let (trusted, authority) = certificate_authority();
    let database = server.create_database().await.unwrap();
    require_tls(&database, &authority).await;
    let ca = write_secret(directory.path(), "ca.pem", &trusted);
    let other_ca = write_secret(directory.path(), "other.pem", &certificate_authority().0);
    let (stand_ins, openai) = (StandIns::start(None).await, QueuedOpenAi::start(&[]).await.unwrap());
    let database = database.rsplit_once('@').unwrap().1;
    let url = |password: &str, at: &str, ca: &Path| {
        format!("postgres://crelay:{password}@{at}?sslmode=verify-full&sslrootcert={}\n", ca.display())
    };
    let by_name = database.replace("127.0.0.1", "localhost");
    for (name, url, refused) in [
        ("good", url(PASSWORD.1, database, &ca), None),
        ("unknown", url(PASSWORD.1, database, &other_ca), Some("invalid peer certificate")),
        ("misnamed", url(PASSWORD.1, &by_name, &ca), Some("certificate not valid for name \"localhost\"")),
        ("guessed", url("guess", database, &ca), Some("password authentication failed")),
        (
            "missing",
            url(PASSWORD.1, database, Path::new("/nonexistent")),
            Some("sslrootcert names a file that cannot be"),
        ),
    ] {
        let file = write_secret(directory.path(), name, &url);
        let vars = [
            ("DATABASE_URL_FILE", file.to_str().unwrap()),
            ("SEALING_KEY", SEALING_KEY),
            ("INSTANCE_ADDRESS", "http://127.0.0.1"),
        ];
        let work_dir = WorkDir::new();
        // Of what `check` looks at there is nothing but the database.
        let origins = [("TWILIO_API_BASE_URL", &*stand_ins.origin), ("OPENAI_BASE_URL", openai.base_url())];
        let unreached = [("HTTPS_PROXY", "http://127.0.0.1:9")];
        let output = work_dir.run_with(&[&vars[..], &origins, &unreached, &REQUIRED_VARS].concat(), &["check"]).await;
        let checked = String::from_utf8(output.stdout).unwrap();
        let line = checked.lines().find(|line| line.contains(" ledger ")).unwrap();
        let Some(refused) = refused else {
            assert!(line.starts_with('✓'), "{line}");
            work_dir.serve_with_vars(&stand_ins, &openai, &vars).await;
            continue;
        };
        assert!(line.starts_with('✗') && line.contains(refused), "{name}: {line}");
        let output = work_dir.start_expecting_exit_with(&stand_ins, &openai, &vars).await;
        let printed = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(!output.status.success() && printed.contains(refused), "{name}: {printed}");
        for said in [line, &printed] {
            assert!(!said.contains("se/cr") && !said.contains("se%2F") && !said.contains("guess"), "{said}");
        }
    }
}
