//! The arguments of tool calls: the entries of a tool's table of arguments, and their values in the model's JSON.
//!
//! The parser of tool calls and the check of manifests read the same tables. Errors are sentences on which the model
//! can act: they name the argument and say what it must be.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

/// An argument that a tool reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Argument {
    /// Its name in the built-in manifests.
    pub(crate) name: &'static str,
    /// Other names that are read, such as those of the reference implementation's manifests.
    pub(crate) aliases: &'static [&'static str],
    /// Whether the tool cannot run without it.
    pub(crate) is_required: bool,
    kind: ArgumentKind,
    /// What it is, for the model: "the key of a context".
    meaning: &'static str,
}

/// The JSON that an argument takes. A number is also read as text, and `"true"` or `"3"` as what they say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ArgumentKind {
    Text,
    Flag,
    WholeNumber,
    /// A decimal amount, as text or as a number.
    Amount,
}

impl Argument {
    /// An argument that the tool needs.
    pub(super) const fn required(name: &'static str, kind: ArgumentKind, meaning: &'static str) -> Self {
        Self { name, aliases: &[], is_required: true, kind, meaning }
    }

    /// An argument that may be missing.
    pub(super) const fn optional(name: &'static str, kind: ArgumentKind, meaning: &'static str) -> Self {
        Self { name, aliases: &[], is_required: false, kind, meaning }
    }

    /// Reads these names, too.
    pub(super) const fn or(self, aliases: &'static [&'static str]) -> Self {
        Self { aliases, ..self }
    }

    /// All names that are read, the preferred one first.
    pub(crate) fn names(&self) -> impl Iterator<Item = &'static str> {
        std::iter::once(self.name).chain(self.aliases.iter().copied())
    }

    /// The sentence for a missing argument.
    pub(super) fn missing(&self) -> String {
        let other_names: Vec<String> = self.aliases.iter().map(|alias| format!("`{alias}`")).collect();
        let other_names = match other_names.as_slice() {
            [] => String::new(),
            names => format!(" ({} is read, too)", names.join(" or ")),
        };
        format!("`{}` is missing: {}{other_names}.", self.name, self.meaning)
    }

    /// The sentence for a value of the wrong type under the name that the model used.
    fn wrong_type(&self, used_name: &str) -> String {
        let expected = match self.kind {
            ArgumentKind::Text => "text",
            ArgumentKind::Flag => "true or false",
            ArgumentKind::WholeNumber => "a whole number",
            ArgumentKind::Amount => "an amount",
        };
        format!("`{used_name}` must be {expected}: {}.", self.meaning)
    }

    /// The argument in a list of what a tool takes.
    fn description(&self) -> String {
        format!("`{}`{}, {}", self.name, if self.is_required { "" } else { " (optional)" }, self.meaning)
    }
}

/// The arguments of a tool call. Null, an empty text and a missing member are the same; unknown members are ignored.
#[derive(Debug)]
pub(super) struct ToolArguments {
    members: BTreeMap<String, Box<RawValue>>,
    /// What the tool reads.
    table: &'static [Argument],
}

impl ToolArguments {
    /// Parses the arguments that the model sent: a JSON object, the text of one, or nothing. The error is a sentence on
    /// which the model can act.
    pub(super) fn parse(json: &str, table: &'static [Argument]) -> Result<Self, String> {
        let members = parse_members(json)
            .or_else(|| parse_members(&serde_json::from_str::<String>(json).ok()?))
            .ok_or_else(|| invalid_json(table))?;
        Ok(Self { members, table })
    }

    /// The text of a required argument.
    pub(super) fn text(&self, argument: &Argument) -> Result<String, String> {
        self.optional_text(argument)?.ok_or_else(|| argument.missing())
    }

    /// The text of an optional argument. A number gives its JSON text.
    pub(super) fn optional_text(&self, argument: &Argument) -> Result<Option<String>, String> {
        let Some((name, value)) = self.find(argument) else { return Ok(None) };
        match value.get().as_bytes().first() {
            Some(b'"') => serde_json::from_str(value.get()).map(Some).map_err(|_| argument.wrong_type(name)),
            Some(b'-' | b'0'..=b'9') => Ok(Some(value.get().to_owned())),
            _ => Err(argument.wrong_type(name)),
        }
    }

    /// The value of a required flag.
    pub(super) fn flag(&self, argument: &Argument) -> Result<bool, String> {
        let (name, value) = self.find(argument).ok_or_else(|| argument.missing())?;
        let text = unquoted(value);
        [("true", true), ("false", false)]
            .into_iter()
            .find_map(|(word, flag)| text.eq_ignore_ascii_case(word).then_some(flag))
            .ok_or_else(|| argument.wrong_type(name))
    }

    /// The value of an optional whole number; one that is out of range is replaced by the nearest one.
    pub(super) fn whole_number(&self, argument: &Argument) -> Result<Option<u16>, String> {
        let Some((name, value)) = self.find(argument) else { return Ok(None) };
        let number = unquoted(value).parse::<f64>().ok().filter(|number| number.fract() == 0.0);
        let number = number.ok_or_else(|| argument.wrong_type(name))?;
        // Text such as 1e9 is a number, too.
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the value was clamped to the range"
        )]
        let number = number.clamp(0.0, f64::from(u16::MAX)) as u16;
        Ok(Some(number))
    }

    /// The digits of an optional amount, as they are written, and the name that the model used. An amount never becomes
    /// a float.
    pub(super) fn amount_text(&self, argument: &Argument) -> Option<(&str, &str)> {
        self.find(argument).map(|(name, value)| (name, unquoted(value)))
    }

    /// Finds an argument under any of its names. Null and blank text count as missing.
    fn find(&self, argument: &Argument) -> Option<(&str, &RawValue)> {
        debug_assert!(self.table.contains(argument), "{} is not in the table of the tool", argument.name);
        argument.names().find_map(|name| {
            let (name, value) = self.members.get_key_value(name)?;
            (value.get() != "null" && !unquoted(value).is_empty()).then_some((name.as_str(), &**value))
        })
    }
}

/// The members of a JSON object; none if nothing was sent.
fn parse_members(json: &str) -> Option<BTreeMap<String, Box<RawValue>>> {
    match json.trim() {
        "" | "null" => Some(BTreeMap::new()),
        json => serde_json::from_str(json).ok(),
    }
}

/// The text of a JSON value without its quotes. Escapes stay as they are: no number or flag has one.
fn unquoted(value: &RawValue) -> &str {
    let text = value.get();
    text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text).trim()
}

fn invalid_json(table: &[Argument]) -> String {
    let descriptions: Vec<String> = table.iter().map(Argument::description).collect();
    match descriptions.as_slice() {
        [] => "The arguments must be one whole JSON object, such as {}.".to_owned(),
        arguments => format!("The arguments must be one whole JSON object with {}.", arguments.join("; ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOTE: Argument = Argument::required("note", ArgumentKind::Text, "what to write").or(&["text"]);
    const LOUD: Argument = Argument::required("loud", ArgumentKind::Flag, "true for loud");
    const COUNT: Argument = Argument::optional("count", ArgumentKind::WholeNumber, "how often");
    const TABLE: &[Argument] = &[NOTE, LOUD, COUNT];

    fn parse(json: &str) -> ToolArguments {
        ToolArguments::parse(json, TABLE).unwrap()
    }

    #[test]
    fn null_blank_text_and_a_missing_member_are_the_same() {
        for json in ["", "{}", "null", r#"{"note":null,"count":null}"#, r#"{"note":"","count":" "}"#, r#""{}""#] {
            assert_eq!(parse(json).optional_text(&NOTE), Ok(None), "{json}");
            assert_eq!(parse(json).whole_number(&COUNT), Ok(None), "{json}");
            assert_eq!(parse(json).text(&NOTE).unwrap_err(), "`note` is missing: what to write (`text` is read, too).");
            assert_eq!(parse(json).flag(&LOUD).unwrap_err(), "`loud` is missing: true for loud.");
        }
    }

    #[test]
    fn an_argument_is_read_under_each_of_its_names() {
        assert_eq!(parse(r#"{"text":"a","other":[1]}"#).text(&NOTE).unwrap(), "a");
        assert_eq!(parse(r#"{"text":"a","note":"b"}"#).text(&NOTE).unwrap(), "b");
        assert_eq!(parse(r#"{"note":null,"text":"a"}"#).text(&NOTE).unwrap(), "a", "the preferred name has no value");
        assert_eq!(parse(r#""{\"text\":\"a\"}""#).text(&NOTE).unwrap(), "a", "the text of an object");
    }

    #[test]
    fn numbers_and_flags_are_read_as_text_and_text_as_a_number_or_a_flag() {
        assert_eq!(parse(r#"{"note":5}"#).text(&NOTE).unwrap(), "5");
        assert_eq!(parse(r#"{"note":"say \"hi\""}"#).text(&NOTE).unwrap(), "say \"hi\"");
        for (json, flag) in [("true", true), ("false", false), (r#""true""#, true), (r#""False""#, false)] {
            assert_eq!(parse(&format!(r#"{{"loud":{json}}}"#)).flag(&LOUD), Ok(flag), "{json}");
        }
        for (json, count) in [("3", 3), (r#""3""#, 3), ("3.0", 3), ("-1", 0), ("1e9", u16::MAX)] {
            assert_eq!(parse(&format!(r#"{{"count":{json}}}"#)).whole_number(&COUNT), Ok(Some(count)), "{json}");
        }
    }

    #[test]
    fn a_wrong_type_is_answered_with_the_name_that_was_used_and_what_it_must_be() {
        let arguments = parse(r#"{"text":["a"],"loud":"loudly","count":1.5}"#);
        assert_eq!(arguments.text(&NOTE).unwrap_err(), "`text` must be text: what to write.");
        assert_eq!(arguments.flag(&LOUD).unwrap_err(), "`loud` must be true or false: true for loud.");
        assert_eq!(arguments.whole_number(&COUNT).unwrap_err(), "`count` must be a whole number: how often.");
    }

    #[test]
    fn broken_json_is_answered_with_what_the_tool_takes() {
        for broken in [r#"{"note":"#, "[]", "5", "{} {}", "note"] {
            let error = ToolArguments::parse(broken, TABLE).unwrap_err();
            let expected = "The arguments must be one whole JSON object with `note`, what to write; `loud`, true for loud; \
                `count` (optional), how often.";
            assert_eq!(error, expected, "{broken}");
        }
        assert!(ToolArguments::parse("{", &[]).unwrap_err().ends_with("such as {}."));
    }

    proptest! {
        #[test]
        fn no_arguments_panic(json in "[\\[\\]{}\",:0-9a-z\\\\ ]{0,40}", value in "\\PC{0,20}") {
            for json in [json, format!(r#"{{"note":{value},"count":{value}}}"#)] {
                if let Ok(arguments) = ToolArguments::parse(&json, TABLE) {
                    let _ = (arguments.text(&NOTE), arguments.flag(&LOUD), arguments.whole_number(&COUNT));
                }
            }
        }
    }
}
