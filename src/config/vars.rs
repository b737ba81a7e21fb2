//! The variables of a configuration: the process environment and the file `.env` in one map.

use std::collections::BTreeMap;
use std::fmt;
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
        let entries = match dotenvy::from_path_iter(path) {
            Ok(entries) => entries,
            Err(err) if err.not_found() => return self,
            Err(err) => return self.with_problem(path, None, &describe_error(&err)),
        };
        for entry in entries {
            match entry {
                Ok((name, value)) => self.add(name, &value),
                Err(dotenvy::Error::LineParse(text, _)) => {
                    self = self.with_problem(path, find_line(path, &text), "is not NAME=value");
                }
                // Another read would fail again; a directory would be read forever.
                Err(err) => return self.with_problem(path, None, &describe_error(&err)),
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
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.values.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Adds these defaults for variables that are not set.
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

/// Describes a read error without the line, which may contain a secret.
fn describe_error(err: &dotenvy::Error) -> String {
    match err {
        dotenvy::Error::Io(err) => format!("cannot be read ({err})"),
        _ => "cannot be read".to_owned(),
    }
}

/// The line, counted from 1, of an unreadable text.
fn find_line(path: &Path, text: &str) -> Option<usize> {
    let file = std::fs::read_to_string(path).ok()?;
    let broken = text.lines().next()?.trim();
    file.lines().position(|line| line.trim() == broken).map(|index| index + 1)
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

    fn env_file(text: &str) -> NamedTempFile {
        let mut file = tempfile::Builder::new().suffix(".env").tempfile().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
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
