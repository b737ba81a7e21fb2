//! The variables of a configuration: the process environment and the file `.env` in one map.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use super::ConfigProblem;

/// The variables that are secrets. Each may be read from a file, whose path is in the variable of the same name with
/// [`FILE_SUFFIX`].
const SECRETS: [&str; 14] = [
    "API_SECRET",
    "AUTH_TOKEN",
    "AUTH_TOKEN_SECONDARY",
    "DATABASE_URL",
    "FLOWISE_API_KEY",
    "OPENAI_API_KEY",
    "OPERATOR_TOKEN",
    "OPERATOR_TOKENS",
    "OTEL_EXPORTER_OTLP_HEADERS",
    "PAYMENT_WEBHOOK_PREVIOUS_SECRET",
    "PAYMENT_WEBHOOK_SECRET",
    "SEALING_KEY",
    "TOOL_SERVER_TOKENS",
    "TWILIO_WEBHOOK_SHARED_KEYS",
];

/// What follows the name of a secret in that of the variable with the path of its file.
const FILE_SUFFIX: &str = "_FILE";

/// The largest file of a secret, in bytes.
const MAX_SECRET_FILE: u64 = 64 * 1024;

/// Variables by name. Values are trimmed; an empty value counts as not set.
///
/// `Vars::from_iter` builds them from pairs of name and value. `Debug` prints the names only.
#[derive(Clone, Default)]
pub struct Vars {
    values: BTreeMap<String, String>,
    problems: Vec<ConfigProblem>,
    /// The files that secrets were read from, each with the name that an error shows.
    secret_files: Vec<(String, PathBuf)>,
}

/// Why the file of a secret is of no use.
#[derive(Debug, thiserror::Error)]
enum ReadSecretError {
    #[error("names a file that cannot be read ({0})")]
    Io(#[from] io::Error),
    #[error("names something that is no regular file")]
    NoFile,
    #[error("names a file of more than {MAX_SECRET_FILE} bytes")]
    TooLarge,
    #[error("names a file that {0}")]
    NotText(&'static str),
    #[error("names an empty file")]
    Empty,
}

impl Vars {
    /// Reads the process environment and, for variables that it does not set, the file `.env` in the working directory;
    /// then the files of secrets.
    /// A missing file is not an error; an unreadable line is reported by
    /// [`Config::from_vars`](super::Config::from_vars).
    ///
    /// The environment is only read, never written, since writing is not thread-safe.
    #[expect(clippy::disallowed_methods, reason = "the only place that reads the process environment")]
    pub fn from_process() -> Self {
        // `std::env::vars` would panic on a name or value that is not UTF-8.
        let lossy = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned())
        };
        std::env::vars_os().map(lossy).collect::<Self>().with_file(Path::new(".env")).with_secret_files()
    }

    /// Replaces each variable with the path of a secret's file by the secret, without the line break at its end. A secret
    /// that is set in both ways, or whose file cannot be read, is reported as an error.
    fn with_secret_files(mut self) -> Self {
        for name in SECRETS {
            let variable = format!("{name}{FILE_SUFFIX}");
            let Some(path) = self.values.remove(&variable) else { continue };
            let (what, expected) = if self.values.contains_key(name) {
                (format!("is set, and {name} as well"), "one of the two")
            } else {
                match read_secret(Path::new(&path)) {
                    Ok(secret) => {
                        self.add(name.to_owned(), &secret);
                        self.secret_files.push((variable, path.into()));
                        continue;
                    }
                    Err(error) => (error.to_string(), "the path of a text file with nothing but the secret"),
                }
            };
            self.problems.push(ConfigProblem { location: variable, what, expected: expected.to_owned() });
        }
        self
    }

    pub(super) fn secret_files(&self) -> &[(String, PathBuf)] {
        &self.secret_files
    }

    /// Adds the variables of the file that are not set yet.
    fn with_file(mut self, path: &Path) -> Self {
        let text = match std::fs::read(path) {
            Ok(bytes) => decode(&bytes).map_err(str::to_owned),
            Err(err) if err.kind() == ErrorKind::NotFound => return self,
            Err(err) => Err(format!("cannot be read ({err})")),
        };
        let text = match text {
            Ok(text) => text,
            Err(what) => return self.with_problem(path, None, &what),
        };
        let mut has_secret = false;
        for entry in dotenvy::from_read_iter(text.as_bytes()) {
            match entry {
                Ok((name, value)) => {
                    has_secret |= SECRETS.contains(&name.as_str()) && !value.trim().is_empty();
                    self.add(name, &value);
                }
                Err(dotenvy::Error::LineParse(broken, _)) => {
                    let (line, what) = locate(&text, &broken);
                    self = self.with_problem(path, line, what);
                }
                Err(_) => return self.with_problem(path, None, "cannot be read"),
            }
        }
        if has_secret {
            self.secret_files.push((path.display().to_string(), path.to_owned()));
        }
        self
    }

    fn add(&mut self, name: String, value: &str) {
        let value = value.trim();
        if !value.is_empty() {
            self.values.entry(name).or_insert_with(|| value.to_owned());
        }
    }

    fn with_problem(mut self, path: &Path, line: Option<usize>, what: &str) -> Self {
        let place = line.map_or_else(|| path.display().to_string(), |line| format!("{}:{line}", path.display()));
        let expected = "one NAME=value on each line, the value in 'single quotes' if it has spaces, $, # or quotes";
        self.problems.push(ConfigProblem { location: place, what: what.to_owned(), expected: expected.to_owned() });
        self
    }

    /// The value of a variable, if it is set.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// All variables that are set, by name.
    #[cfg(any(feature = "simulator", test))]
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.values.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Adds these defaults for variables that are not set.
    #[cfg(any(feature = "simulator", test))]
    pub(crate) fn with_defaults(mut self, defaults: &[(&str, &str)]) -> Self {
        for (name, value) in defaults {
            self.add((*name).to_owned(), value);
        }
        self
    }

    pub(super) fn problems(&self) -> &[ConfigProblem] {
        &self.problems
    }
}

/// Reads the secret in a file.
fn read_secret(path: &Path) -> Result<String, ReadSecretError> {
    // A pipe would be waited for without end.
    if !std::fs::metadata(path)?.is_file() {
        return Err(ReadSecretError::NoFile);
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_SECRET_FILE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_SECRET_FILE {
        return Err(ReadSecretError::TooLarge);
    }
    let text = decode(&bytes).map_err(ReadSecretError::NotText)?;
    let secret = text.trim();
    if secret.is_empty() { Err(ReadSecretError::Empty) } else { Ok(secret.to_owned()) }
}

/// Decodes a file of UTF-8 text. Editors on Windows write a byte order mark before it, or UTF-16.
fn decode(bytes: &[u8]) -> Result<String, &'static str> {
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) || bytes.contains(&0) {
        return Err("is UTF-16 text: save it as UTF-8");
    }
    let text = std::str::from_utf8(bytes).map_err(|_| "is not UTF-8 text: save it as UTF-8")?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text).to_owned())
}

/// The line of an unreadable text, counted from 1, and what is wrong with it, without the text: it may be a secret.
/// `broken` is the whole line, or its value if that is what cannot be read.
fn locate(text: &str, broken: &str) -> (Option<usize>, &'static str) {
    let broken = broken.lines().next().unwrap_or_default().trim();
    let find = |is_it: &dyn Fn(&str) -> bool| text.lines().position(|line| is_it(line.trim())).map(|index| index + 1);
    if let Some(line) = find(&|line| line == broken) {
        return (Some(line), "is not NAME=value");
    }
    let has_value = |line: &str| line.split_once('=').is_some_and(|(_, value)| value.trim() == broken);
    (find(&has_value), "has a value that has to be in quotes")
}

impl<N: Into<String>, V: AsRef<str>> FromIterator<(N, V)> for Vars {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        let mut vars = Self::default();
        pairs.into_iter().for_each(|(name, value)| vars.add(name.into(), value.as_ref()));
        vars
    }
}

impl fmt::Debug for Vars {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.values.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use tempfile::NamedTempFile;

    use super::*;

    fn env_file(text: impl AsRef<[u8]>) -> NamedTempFile {
        let mut file = tempfile::Builder::new().suffix(".env").tempfile().unwrap();
        file.write_all(text.as_ref()).unwrap();
        file
    }

    /// The only problem with a file: its line, and the problem.
    fn problem_of(text: impl AsRef<[u8]>) -> (String, String) {
        let file = env_file(text);
        let vars = Vars::default().with_file(file.path());
        let [problem] = vars.problems() else { panic!("{:?}", vars.problems()) };
        let line = problem.location.rsplit_once(".env").unwrap().1;
        (line.to_owned(), problem.what.clone())
    }

    #[test]
    fn the_environment_wins_over_the_file() {
        let file = env_file("PORT=4000\nCURRENCY='EUR' # euros\nPORT=5000\nexport TOKEN_TYPE=reusable\n");
        let vars = Vars::from_iter([("PORT", "3001")]).with_file(file.path());
        assert_eq!(vars.get("PORT"), Some("3001"));
        assert_eq!(vars.get("CURRENCY"), Some("EUR"));
        assert_eq!(vars.get("TOKEN_TYPE"), Some("reusable"));
        assert!(vars.problems().is_empty());
    }

    #[test]
    fn an_empty_value_is_not_set() {
        let file = env_file("PORT=4000\nCURRENCY=\n");
        let vars = Vars::from_iter([("PORT", " ")]).with_file(file.path());
        assert_eq!(vars.get("PORT"), Some("4000"));
        assert_eq!(vars.get("CURRENCY"), None);
    }

    #[test]
    fn a_missing_file_is_not_an_error() {
        let vars = Vars::default().with_file(Path::new("/nonexistent/.env"));
        assert!(vars.problems().is_empty());
    }

    #[test]
    fn a_malformed_line_is_reported_by_its_number_only() {
        let file = env_file("PORT=4000\n\nAUTH_TOKEN is 'hush-hush'\nCURRENCY=EUR\n");
        let vars = Vars::default().with_file(file.path());
        assert_eq!(vars.get("CURRENCY"), Some("EUR"), "later lines are read");
        let [problem] = vars.problems() else { panic!("{:?}", vars.problems()) };
        assert!(problem.location.ends_with(".env:3"), "{}", problem.location);
        assert!(!format!("{problem:?}").contains("hush"));
    }

    #[test]
    fn a_byte_order_mark_is_skipped() {
        let file = env_file("\u{feff}PORT=4000\r\nCURRENCY=EUR\r\n");
        let vars = Vars::default().with_file(file.path());
        assert_eq!((vars.get("PORT"), vars.get("CURRENCY")), (Some("4000"), Some("EUR")));
        assert!(vars.problems().is_empty());
    }

    #[test]
    fn comments_behind_values_blanks_and_export_are_read() {
        let file =
            env_file("PORT=4000   # the port\r\nexport CURRENCY = EUR\r\nTOKEN_TYPE='one-time' # or reusable\r\n");
        let vars = Vars::default().with_file(file.path());
        assert_eq!((vars.get("PORT"), vars.get("CURRENCY")), (Some("4000"), Some("EUR")));
        assert_eq!(vars.get("TOKEN_TYPE"), Some("one-time"));
        assert!(vars.problems().is_empty());
    }

    #[test]
    fn an_unquoted_value_with_blanks_is_reported_with_its_line_and_not_shown() {
        let (line, what) = problem_of("PORT=4000\n# a number\nFROM_NUMBER=+1 500 555 0006\n");
        assert_eq!((line.as_str(), what.as_str()), (":3", "has a value that has to be in quotes"));
    }

    #[test]
    fn another_encoding_is_named() {
        let utf16: Vec<u8> = "\u{feff}PORT=4000\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
        for text in [utf16.as_slice(), &utf16[2..]] {
            assert_eq!(problem_of(text), (String::new(), "is UTF-16 text: save it as UTF-8".to_owned()));
        }
        assert_eq!(problem_of(b"A=\xff\xc3\n").1, "is not UTF-8 text: save it as UTF-8");
    }

    #[test]
    fn a_directory_is_an_error_and_not_an_endless_loop() {
        let vars = Vars::default().with_file(&std::env::temp_dir());
        assert_eq!(vars.problems().len(), 1);
    }

    #[test]
    fn a_secret_is_read_from_a_file_without_its_line_break() {
        let file = env_file("the-secret-of-a-file\r\n");
        let vars = Vars::from_iter([("AUTH_TOKEN_FILE", file.path().to_str().unwrap())]).with_secret_files();
        assert_eq!((vars.get("AUTH_TOKEN"), vars.get("AUTH_TOKEN_FILE")), (Some("the-secret-of-a-file"), None));
        assert_eq!(vars.secret_files(), [("AUTH_TOKEN_FILE".to_owned(), file.path().to_owned())]);
        assert!(vars.problems().is_empty());
    }

    #[test]
    fn every_secret_may_be_in_a_file_and_nothing_else() {
        let file = env_file("the-secret-of-a-file\n");
        let path = file.path().to_str().unwrap();
        for name in SECRETS {
            let vars = Vars::from_iter([(format!("{name}_FILE"), path)]).with_secret_files();
            assert_eq!(vars.get(name), Some("the-secret-of-a-file"));
        }
        let vars = Vars::from_iter([("PORT_FILE", path)]).with_secret_files();
        assert_eq!((vars.get("PORT"), vars.get("PORT_FILE")), (None, Some(path)));
    }

    #[test]
    fn a_file_that_is_no_secret_is_an_error_of_its_variable() {
        let (empty, large) = (env_file(" \n"), env_file("a".repeat(70_000)));
        let utf16 = env_file([0xff, 0xfe, 0x61, 0x00]);
        for (path, what) in [
            (Path::new("/nonexistent/hush"), "cannot be read"),
            (Path::new("/dev/zero"), "no regular file"),
            (&std::env::temp_dir(), "no regular file"),
            (empty.path(), "empty"),
            (large.path(), "more than 65536 bytes"),
            (utf16.path(), "UTF-16"),
        ] {
            let vars = Vars::from_iter([("API_SECRET_FILE", path.to_str().unwrap())]).with_secret_files();
            let [problem] = vars.problems() else { panic!("{path:?}") };
            assert!(problem.location == "API_SECRET_FILE" && problem.what.contains(what), "{problem:?}");
            assert!(!format!("{problem:?}").contains("hush"), "the path may be a misplaced secret");
            assert_eq!(vars.get("API_SECRET"), None);
        }
        let file = env_file("from-the-file");
        let both = [("AUTH_TOKEN", "from-the-environment"), ("AUTH_TOKEN_FILE", file.path().to_str().unwrap())];
        let vars = Vars::from_iter(both).with_secret_files();
        assert_eq!(vars.problems()[0].what, "is set, and AUTH_TOKEN as well");
    }

    #[test]
    fn a_file_with_a_secret_is_known_as_one() {
        let (with, without) = (env_file("PORT=1\nAUTH_TOKEN=hush\n"), env_file("PORT=1\nAUTH_TOKEN=\n"));
        let [(place, path)] = &Vars::default().with_file(with.path()).secret_files[..] else {
            panic!("it has a secret")
        };
        assert!(place.contains(".env") && path == with.path());
        assert!(Vars::default().with_file(without.path()).secret_files.is_empty());
    }

    #[test]
    fn debug_shows_no_value() {
        let vars = Vars::from_iter([("AUTH_TOKEN", "hush-hush")]);
        assert_eq!(format!("{vars:?}"), "{\"AUTH_TOKEN\"}");
    }
}
