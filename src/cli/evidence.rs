//! `evidence ID|SID`.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;

use anyhow::Context as _;
use clap::Args;
use crelay_payments::config::{self, DatabaseUrl, Vars};
use crelay_payments::evidence::{EvidenceOrigin, PaymentEvidence, verify_evidence};
use crelay_payments::ids::CallSid;
use crelay_payments::ledger::Ledger;
use crelay_payments::payment::PaymentId;
use crelay_payments::signing::SigningSecrets;
use jiff::Timestamp;

/// The largest file that is verified, in bytes.
const MAX_FILE: u64 = 64 * 1024 * 1024;

/// Write all that the ledger has about one payment, or about each payment of a call, for a dispute or an assessor.
///
/// It has the payment, the call, a chronology of every event and every statement with the caller's answer, and what the
/// business was told; no card data and no token, but the caller's number. With PAYMENT_WEBHOOK_SECRET it is signed like
/// a webhook, and --verify shows later that nothing was changed. The server may be running.
#[derive(Debug, Args)]
pub(super) struct Evidence {
    /// The id of the payment, as `payments` prints it, or the SID of the call (CA…)
    #[arg(value_name = "ID|SID", required_unless_present = "verify", conflicts_with = "verify")]
    about: Option<Subject>,
    /// Print JSON instead of Markdown: one line for each payment
    #[arg(long, conflicts_with_all = ["out", "verify"])]
    json: bool,
    /// Write evidence-ID.md and evidence-ID.json into this directory, which is created if it is missing; no file is
    /// overwritten
    #[arg(long, value_name = "DIR", conflicts_with = "verify")]
    out: Option<PathBuf>,
    /// Check the signature of a file that this command has written; the exit code is 1 if it is missing or wrong
    #[arg(long, value_name = "FILE")]
    verify: Option<PathBuf>,
}

/// What the evidence is about.
#[derive(Debug, Clone)]
enum Subject {
    Payment(PaymentId),
    Call(CallSid),
}

/// The text is neither the id of a payment nor the SID of a call.
#[derive(Debug, thiserror::Error)]
#[error("give the id of a payment, such as 2f1b6c1e-8f0a-5d3c-9a51-0d2f6d1c9a10, or the SID of a call (CA…)")]
struct ParseSubjectError;

impl FromStr for Subject {
    type Err = ParseSubjectError;

    fn from_str(text: &str) -> Result<Self, ParseSubjectError> {
        let payment = text.parse().map(Self::Payment);
        payment.or_else(|_| text.parse().map(Self::Call)).map_err(|_| ParseSubjectError)
    }
}

impl std::fmt::Display for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Payment(id) => id.fmt(f),
            Self::Call(sid) => sid.fmt(f),
        }
    }
}

/// Writes evidence, or verifies it.
pub(super) async fn run(args: &Evidence, vars: &Vars) -> anyhow::Result<ExitCode> {
    let secrets = match config::business_secrets_from_vars(vars) {
        Ok(secrets) => secrets,
        Err(problems) => return super::refuse_configuration(&problems),
    };
    if let Some(file) = &args.verify {
        return verify(file, secrets.as_ref());
    }
    let ledger_url = match config::ledger_from_vars(vars) {
        Ok((url, _)) => url,
        Err(problems) => return super::refuse_configuration(&problems),
    };
    let about = args.about.as_ref().context("give the id of a payment or the SID of a call")?;
    super::with_ledger(vars, async |ledger| {
        let origin = EvidenceOrigin {
            written_at: Timestamp::from_second(Timestamp::now().as_second())?,
            command: command_line(args, about),
            ledger: describe_ledger(&ledger_url),
        };
        let found = read_evidence(ledger, about, &origin).await?;
        match &args.out {
            Some(directory) => write_files(directory, &found, secrets.as_ref())?,
            None => {
                for evidence in &found {
                    let secrets = secrets.as_ref();
                    super::print(if args.json {
                        evidence.to_signed_json(secrets)
                    } else {
                        evidence.to_signed_markdown(secrets)
                    })?;
                }
            }
        }
        if secrets.is_none() {
            super::print_error("not signed: set PAYMENT_WEBHOOK_SECRET to sign it");
        }
        Ok(ExitCode::SUCCESS)
    })
    .await
}

/// Reads the evidence of the payment, or of each payment of the call.
async fn read_evidence(
    ledger: &Ledger,
    about: &Subject,
    origin: &EvidenceOrigin,
) -> anyhow::Result<Vec<PaymentEvidence>> {
    let ids: Vec<PaymentId> = match about {
        Subject::Payment(id) => vec![*id],
        Subject::Call(call) => ledger.payments_of_call(call).await?.into_iter().map(|payment| payment.id).collect(),
    };
    let mut found = Vec::new();
    for id in ids {
        found.extend(ledger.history_of_payment(id).await?.map(|history| PaymentEvidence::new(history, origin)));
    }
    anyhow::ensure!(
        !found.is_empty(),
        "the ledger {} has no payment of {about}: `crelay-payments payments` lists the ids and the calls of all payments",
        origin.ledger
    );
    Ok(found)
}

/// The command that writes the evidence.
fn command_line(args: &Evidence, about: &Subject) -> String {
    let json = if args.json { " --json" } else { "" };
    let out = args.out.as_ref().map(|directory| format!(" --out {}", directory.display())).unwrap_or_default();
    format!("crelay-payments evidence {about}{json}{out}")
}

/// The whole path of the file, or the database without its password.
fn describe_ledger(url: &DatabaseUrl) -> String {
    match url.file().and_then(|path| path.canonicalize().ok()) {
        Some(path) => path.display().to_string(),
        None => url.to_string(),
    }
}

/// Writes two files for each payment, with the permissions of the ledger, and none if one of them exists.
fn write_files(directory: &Path, found: &[PaymentEvidence], secrets: Option<&SigningSecrets>) -> anyhow::Result<()> {
    std::fs::create_dir_all(directory).with_context(|| format!("cannot create {}", directory.display()))?;
    let files: Vec<(PathBuf, String)> = found
        .iter()
        .flat_map(|evidence| {
            let name = |extension| directory.join(format!("evidence-{}.{extension}", evidence.id()));
            [(name("md"), evidence.to_signed_markdown(secrets)), (name("json"), evidence.to_signed_json(secrets))]
        })
        .collect();
    if let Some((file, _)) = files.iter().find(|(file, _)| file.exists()) {
        anyhow::bail!("{} exists and is not overwritten: move it, or give another directory", file.display());
    }
    for (file, text) in &files {
        let created = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file);
        created
            .and_then(|mut open| open.write_all(text.as_bytes()))
            .with_context(|| format!("cannot write {}", file.display()))?;
        super::print(format_args!("{}\n", file.display()))?;
    }
    Ok(())
}

/// Verifies a file, and prints what it is about.
fn verify(path: &Path, secrets: Option<&SigningSecrets>) -> anyhow::Result<ExitCode> {
    let secrets = secrets.context("set PAYMENT_WEBHOOK_SECRET to the secret with which the file was signed")?;
    let cannot_read = || format!("cannot read {}", path.display());
    let file = File::open(path).with_context(cannot_read)?;
    anyhow::ensure!(
        file.metadata().with_context(cannot_read)?.len() <= MAX_FILE,
        "{} is too large for evidence: give it a file that `crelay-payments evidence` has written",
        path.display()
    );
    let mut text = String::new();
    file.take(MAX_FILE).read_to_string(&mut text).with_context(cannot_read)?;
    for verified in verify_evidence(&text, secrets).with_context(|| format!("{} is not genuine", path.display()))? {
        super::print(format_args!("genuine: payment {}, signed at {}\n", verified.id, verified.signed_at))?;
    }
    Ok(ExitCode::SUCCESS)
}
