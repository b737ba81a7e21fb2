//! The form of an asset in Twilio Sync: JSON, and a large context split into parts.
//!
//! A context `NAME` that does not fit into one item is stored in the items `NAME`, `NAME#2`, `NAME#3` and so on. Each
//! part holds the number of parts and a digest of the whole text, so that parts of two uploads are never joined.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::AssetError;
use super::file::AssetFile;
use super::name::{AssetKey, AssetName};
use crate::json_text::compact;
use crate::twilio::MAX_DATA_BYTES;

/// The bytes of a part's JSON beside its piece of the text, rounded up.
const PART_OVERHEAD: usize = 100;

/// The data of an item in the map of contexts.
#[derive(Serialize, Deserialize)]
struct ContextPart<'a> {
    content: Cow<'a, str>,
    /// The number of parts of the context.
    #[serde(skip_serializing_if = "Option::is_none")]
    parts: Option<usize>,
    /// A digest of the whole text, which is equal in all parts of one upload.
    #[serde(skip_serializing_if = "Option::is_none")]
    upload: Option<Cow<'a, str>>,
}

/// The key of the item that holds a part of an asset. Parts are counted from 1.
pub(super) fn item_key(key: &AssetKey, part: usize) -> String {
    if part == 1 { key.as_str().to_owned() } else { format!("{}#{part}", key.as_str()) }
}

/// Parses the key of an item into the asset's key and the number of the part.
pub(super) fn parse_item_key(item_key: &str) -> Option<(AssetKey, usize)> {
    let (key, part) = match item_key.split_once('#') {
        None => (item_key, 1),
        Some((key, part)) => (key, part.parse().ok().filter(|part| *part > 1)?),
    };
    Some((key.parse().ok()?, part))
}

/// Serializes an asset as the JSON of one item or, for a large context, of several.
pub(super) fn split(name: &AssetName, file: &AssetFile) -> Vec<String> {
    match name {
        AssetName::Context(_) => split_context(&file.text),
        // Sync stores JSON objects only, and a manifest may be a bare array.
        AssetName::Manifest(_) if file.text.trim_start().starts_with('[') => {
            vec![format!("{{\"tools\":{}}}", compact(&file.text))]
        }
        AssetName::Manifest(_) | AssetName::ServerConfig => vec![compact(&file.text)],
    }
}

fn split_context(text: &str) -> Vec<String> {
    let part = |content, parts, upload| {
        let part = ContextPart { content: Cow::Borrowed(content), parts, upload };
        serde_json::to_string(&part).expect("strings and numbers serialize to JSON")
    };
    let whole = part(text, None, None);
    if whole.len() <= MAX_DATA_BYTES {
        return vec![whole];
    }
    let pieces = split_into_pieces(text, MAX_DATA_BYTES - PART_OVERHEAD);
    let upload = digest(text);
    pieces.iter().map(|piece| part(*piece, Some(pieces.len()), Some(Cow::Borrowed(&*upload)))).collect()
}

/// Splits a text into pieces of at most `room` bytes as JSON, at the end of a line where possible.
fn split_into_pieces(mut text: &str, room: usize) -> Vec<&str> {
    let mut pieces = Vec::new();
    while !text.is_empty() {
        let mut used = 0;
        let fits = |(_, c): &(usize, char)| {
            used += json_length(*c);
            used <= room
        };
        let end = text.char_indices().take_while(fits).last().map_or(0, |(at, c)| at + c.len_utf8());
        let line_end = text[..end].rfind('\n').map_or(0, |at| at + 1);
        let at = if end < text.len() && line_end > end / 2 { line_end } else { end };
        let (piece, rest) = text.split_at(at);
        pieces.push(piece);
        text = rest;
    }
    pieces
}

/// The length of a character in a JSON string, in bytes.
fn json_length(c: char) -> usize {
    match c {
        '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
        c if c < ' ' => 6,
        c => c.len_utf8(),
    }
}

fn digest(text: &str) -> String {
    hex::encode(&Sha256::digest(text)[..8])
}

/// Joins a context from its parts, each of which is the JSON of an item.
pub(super) fn join(label: &str, parts: &BTreeMap<usize, AssetFile>) -> Result<AssetFile, AssetError> {
    let broken = |what: String| AssetError::InvalidParts { file: label.to_owned(), what };
    let mut text = String::new();
    let mut uploads = Vec::new();
    for (expected, (part, file)) in (1..).zip(parts) {
        if *part != expected {
            return Err(broken(format!("part {expected} is missing")));
        }
        let (read, _) = file.parse_json::<ContextPart<'_>>()?;
        text.push_str(&read.content);
        uploads.push((read.parts, read.upload.map(Cow::into_owned)));
    }
    uploads.dedup();
    match uploads.as_slice() {
        [(Some(count), _)] if *count > parts.len() => Err(broken(format!("part {} is missing", parts.len() + 1))),
        [(Some(count), _)] if *count < parts.len() => Err(broken(format!("it has parts after the last one, {count}"))),
        [_] => Ok(AssetFile { label: label.to_owned(), text }),
        _ => Err(broken("its parts are from different uploads, or an upload is in progress".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn context() -> AssetName {
        AssetName::from_file_name("acme.md").unwrap().unwrap()
    }

    fn stored(text: &str) -> BTreeMap<usize, AssetFile> {
        let pieces = split(&context(), &AssetFile::new("acme.md", text));
        (1..).zip(pieces.iter().map(|piece| AssetFile::new("item", piece))).collect()
    }

    fn joined(parts: &BTreeMap<usize, AssetFile>) -> Result<String, String> {
        join("Context/acme", parts).map(|file| file.text).map_err(|error| error.to_string())
    }

    fn long(line: &str) -> String {
        format!("{line}\n").repeat(1000)
    }

    #[test]
    fn a_small_context_is_one_item_without_a_part_count() {
        assert_eq!(
            split(&context(), &AssetFile::new("acme.md", "Be \"kind\".\n")),
            [r#"{"content":"Be \"kind\".\n"}"#]
        );
        let handwritten =
            BTreeMap::from([(1, AssetFile::new("item", r#"{ "content": "Be kind.", "author": "Ann" }"#))]);
        assert_eq!(joined(&handwritten).unwrap(), "Be kind.");
    }

    #[test]
    fn a_manifest_keeps_where_the_tools_of_the_business_are() {
        let name = AssetName::from_file_name("acme.json").unwrap().unwrap();
        let manifest =
            r#"[{"name": "find-invoice", "http": {"url": "https://shop.example.com/a b", "speak": "One moment."}}]"#;
        let stored = r#"{"tools":[{"name":"find-invoice","http":{"url":"https://shop.example.com/a b","speak":"One moment."}}]}"#;
        assert_eq!(split(&name, &AssetFile::new("acme.json", manifest)), [stored]);
    }

    #[test]
    fn a_large_context_is_split_at_line_ends_and_joined_unchanged() {
        let text = long("You are Acme's agent, and you are \"kind\".");
        let parts = stored(&text);
        assert_eq!(parts.len(), 3);
        assert!(parts.values().all(|part| part.text.contains(r#"\n","parts":3,"upload":""#)));
        assert_eq!(joined(&parts).unwrap(), text);
    }

    #[test]
    fn parts_of_different_uploads_are_rejected() {
        let (old, new) =
            (stored(&long("The old instructions, which were long.")), stored(&long("The new ones, even longer.   .")));
        assert_eq!((old.len(), new.len()), (3, 2));
        let mut during = old.clone();
        during.insert(1, new[&1].clone());
        assert!(joined(&during).unwrap_err().contains("different uploads"));
        during.insert(2, new[&2].clone());
        assert!(joined(&during).unwrap_err().contains("different uploads"));
        during.remove(&3);
        assert!(joined(&during).is_ok());
        for gone in 1..=3 {
            let mut parts = old.clone();
            parts.remove(&gone);
            assert!(joined(&parts).unwrap_err().contains(&format!("part {gone} is missing")), "{gone}");
        }
    }

    #[test]
    fn handwritten_parts_need_no_count_and_no_digest() {
        let part = |text| AssetFile::new("item", text);
        let parts = BTreeMap::from([(1, part(r#"{"content":"Be "}"#)), (2, part(r#"{"content":"kind."}"#))]);
        assert_eq!(joined(&parts).unwrap(), "Be kind.");
    }

    #[test]
    fn item_keys_round_trip() {
        let acme: AssetKey = "acme".parse().unwrap();
        for part in [1, 2, 70] {
            assert_eq!(parse_item_key(&item_key(&acme, part)), Some((acme.clone(), part)));
        }
        for key in ["acme#1", "acme#0", "acme#", "acme#two", "#2", "my context", "acme#2#3", ""] {
            assert_eq!(parse_item_key(key), None, "{key}");
        }
    }

    proptest! {
        #[test]
        fn every_text_fits_into_its_parts_and_is_joined_unchanged(line in "[\\PC\"\\\\\t\u{1}é]{1,60}", lines in 1_usize..1500, ends in any::<bool>()) {
            let text = if ends { format!("{line}\n") } else { line }.repeat(lines);
            let parts = stored(&text);
            prop_assert!(parts.values().all(|part| part.text.len() <= MAX_DATA_BYTES));
            prop_assert_eq!(joined(&parts).unwrap(), text);
        }
    }
}
