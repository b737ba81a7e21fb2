//! Set-ups that are known to be insecure: the server refuses to start with one, unless `ALLOW_INSECURE` names it.

use std::collections::BTreeSet;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::reader::ConfigReader;

/// The variable that names the set-ups which are meant.
pub(super) const ALLOW_INSECURE: &str = "ALLOW_INSECURE";

/// The length below which a secret is refused, in bytes.
pub(super) const MIN_SECRET_LENGTH: usize = 16;

/// The bits of a mode that let others than the owner read or write a file.
const OPEN_TO_OTHERS: u32 = 0o066;

/// A set-up that is known to be insecure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum InsecureSetup {
    /// A secret is short enough to be guessed.
    ShortTokens,
    /// Unsigned requests are accepted at an address that is not on this machine.
    UnsignedWebhooks,
    /// A file with secrets or payments is open to other users of this machine.
    ReadableFiles,
    /// Credentials travel as plain http through public networks.
    PlainHttp,
}

/// A list has a name that no insecure set-up has. The name is not shown, since it may be a misplaced secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum ParseInsecureError {
    #[error("contains an unknown name")]
    UnknownName,
    #[error("contains an unknown name; is {} meant?", .0.name())]
    SimilarName(InsecureSetup),
}

impl InsecureSetup {
    const ALL: [Self; 4] = [Self::ShortTokens, Self::UnsignedWebhooks, Self::ReadableFiles, Self::PlainHttp];

    /// The name in `ALLOW_INSECURE`.
    pub fn name(self) -> &'static str {
        match self {
            Self::ShortTokens => "short-tokens",
            Self::UnsignedWebhooks => "unsigned-webhooks",
            Self::ReadableFiles => "readable-files",
            Self::PlainHttp => "plain-http",
        }
    }

    fn parse(name: &str) -> Result<Self, ParseInsecureError> {
        if let Some(setup) = Self::ALL.into_iter().find(|setup| setup.name() == name) {
            return Ok(setup);
        }
        let name = name.to_ascii_lowercase().replace('_', "-");
        let similarity = |setup: &Self| strsim::jaro_winkler(&name, setup.name());
        let similar = Self::ALL.into_iter().filter(|setup| similarity(setup) > 0.85);
        let best = similar.max_by(|one, other| similarity(one).total_cmp(&similarity(other)));
        Err(best.map_or(ParseInsecureError::UnknownName, ParseInsecureError::SimilarName))
    }
}

/// Parses the names of `ALLOW_INSECURE`, with commas between them.
pub(super) fn parse_names(text: &str) -> Result<BTreeSet<InsecureSetup>, ParseInsecureError> {
    names(text).map(InsecureSetup::parse).collect()
}

/// The set-ups among the names of `ALLOW_INSECURE`; unknown names are left out.
pub(super) fn known_names(text: &str) -> BTreeSet<InsecureSetup> {
    names(text).filter_map(|name| InsecureSetup::parse(name).ok()).collect()
}

fn names(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|name| !name.is_empty())
}

/// What `ALLOW_INSECURE` takes.
pub(super) fn expected_names() -> String {
    format!("names of {} with commas between them", InsecureSetup::ALL.map(InsecureSetup::name).join(", "))
}

/// Refuses a secret that is short enough to be guessed.
pub(super) fn refuse_short_secret(vars: &mut ConfigReader<'_>, variable: &str, secret: &str, expected: &str) {
    if secret.len() < MIN_SECRET_LENGTH {
        let what = format!("has fewer than {MIN_SECRET_LENGTH} characters, so that it can be guessed");
        vars.refuse_insecure(InsecureSetup::ShortTokens, variable, &what, expected);
    }
}

/// Refuses files with secrets, and a ledger that exists already, which other users of this machine can read or write.
pub(super) fn refuse_open_files(vars: &mut ConfigReader<'_>, ledger: Option<&Path>) {
    let secret_files: Vec<(String, PathBuf)> = vars.secret_files().to_vec();
    for (place, file) in secret_files {
        refuse_open_file(vars, &place, &file);
    }
    for suffix in ["", "-wal", "-shm"] {
        let Some(ledger) = ledger else { return };
        let mut file = ledger.as_os_str().to_owned();
        file.push(suffix);
        refuse_open_file(vars, &format!("DATABASE_URL{suffix}"), Path::new(&file));
    }
}

fn refuse_open_file(vars: &mut ConfigReader<'_>, place: &str, file: &Path) {
    let is_open = |metadata: Metadata| metadata.is_file() && metadata.mode() & OPEN_TO_OTHERS != 0;
    if std::fs::metadata(file).is_ok_and(is_open) {
        let what = "is a file that other users of this machine can read or write";
        vars.refuse_insecure(InsecureSetup::ReadableFiles, place, what, "mode 0600 (chmod 600) or 0400");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_name_is_an_error_with_a_suggestion() {
        assert_eq!(
            parse_names("short-tokens, plain-http").unwrap(),
            [InsecureSetup::ShortTokens, InsecureSetup::PlainHttp].into()
        );
        for setup in InsecureSetup::ALL {
            assert_eq!(parse_names(setup.name()).unwrap(), [setup].into());
            assert_eq!(parse_names(&setup.name()[1..]), Err(ParseInsecureError::SimilarName(setup)));
            assert_eq!(
                parse_names(&setup.name().to_uppercase().replace('-', "_")),
                Err(ParseInsecureError::SimilarName(setup))
            );
        }
        for unknown in ["all", "true", "hush-hush-hush-hush"] {
            assert_eq!(parse_names(unknown), Err(ParseInsecureError::UnknownName), "{unknown}");
        }
        assert_eq!(known_names("short-tokens,all"), [InsecureSetup::ShortTokens].into());
    }
}
