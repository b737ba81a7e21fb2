//! The variables of a configuration: the process environment and the file `.env` in one map.

use std::collections::BTreeMap;
use std::fmt;
use std::io::ErrorKind;
use std::path::Path;

use super::ConfigProblem;

/// Variables by name. Values are trimmed; an empty value counts as not set.
///
/// `Vars::from_iter` builds them from pairs of name and value. `Debug` prints the names only.
#[derive(Clone, Default)]
pub struct Vars {
    values: BTreeMap<String, String>,
    problems: Vec<ConfigProblem>,
}

impl Vars {
    /// Reads the process environment and, for variables that it does not set, the file `.env` in the working directory.
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
        std::env::vars_os().map(lossy).collect::<Self>().with_file(Path::new(".env"))
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
        for entry in dotenvy::from_read_iter(text.as_bytes()) {
            match entry {
                Ok((name, value)) => self.add(name, &value),
                Err(dotenvy::Error::LineParse(broken, _)) => {
                    let (line, what) = locate(&text, &broken);
                    self = self.with_problem(path, line, what);
                }
                Err(_) => return self.with_problem(path, None, "cannot be read"),
            }
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
    fn debug_shows_no_value() {
        let vars = Vars::from_iter([("AUTH_TOKEN", "hush-hush")]);
        assert_eq!(format!("{vars:?}"), "{\"AUTH_TOKEN\"}");
    }
}
