//! JSON as text, which keeps what a parsed value would lose.

/// Removes the white space from JSON, except within strings.
pub(crate) fn compact(json: &str) -> String {
    let mut quoted = false;
    let mut escaped = false;
    let mut kept = |c: &char| {
        let within = quoted;
        if !escaped && *c == '"' {
            quoted = !quoted;
        }
        escaped = within && !escaped && *c == '\\';
        within || !c.is_ascii_whitespace()
    };
    json.chars().filter(|c| kept(c)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_white_space_outside_strings_is_removed() {
        assert_eq!(compact("{ \"a b\" :\n\t\"c \\\" d\\\\\" , \"e\": [ 1 ] }"), "{\"a b\":\"c \\\" d\\\\\",\"e\":[1]}");
    }

    proptest! {
        #[test]
        fn compact_json_has_the_same_value(strings in prop::collection::vec("[ \"\\\\a\n]{0,6}", 0..4)) {
            let value = serde_json::json!({ "type": strings });
            let pretty = serde_json::to_string_pretty(&value).unwrap();
            prop_assert_eq!(compact(&pretty), value.to_string());
        }
    }
}
