//! How an asset lies in Twilio Sync: as JSON, and a large context in parts.
//!
//! A context `NAME` that does not fit into one item is kept in the items `NAME`, `NAME#2`, `NAME#3` and so on. Each says how
//! many there are and which text they were cut from, so that parts of two texts are never taken for one.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::AssetError;
use super::file::File;
use super::json::{self, compact};
use super::name::{Key, Name};
use crate::twilio::MAX_DATA;

/// What a part holds beside its piece of the text, and more.
const FRAME: usize = 100;

/// An item of the map of contexts.
#[derive(Serialize, Deserialize)]
struct Part<'a> {
    content: Cow<'a, str>,
    /// How many parts there are.
    #[serde(skip_serializing_if = "Option::is_none")]
    parts: Option<usize>,
    /// A digest of the whole text: the same in all parts of one upload.
    #[serde(skip_serializing_if = "Option::is_none")]
    upload: Option<Cow<'a, str>>,
}

/// The key of the item that holds a part of an asset; parts are counted from 1.
pub(super) fn item_key(key: &Key, part: usize) -> String {
    if part == 1 { key.as_str().to_owned() } else { format!("{}#{part}", key.as_str()) }
}

/// Which part of which asset the item of this key holds.
pub(super) fn part_of(item_key: &str) -> Option<(Key, usize)> {
    let (key, part) = match item_key.split_once('#') {
        None => (item_key, 1),
        Some((key, part)) => (key, part.parse().ok().filter(|part| *part > 1)?),
    };
    Some((key.parse().ok()?, part))
}

/// The JSON in which an asset is kept: one piece, or, for a context, as many as are needed.
pub(super) fn split(name: &Name, file: &File) -> Vec<String> {
    match name {
        Name::Context(_) => split_context(&file.text),
        // Sync keeps objects, and a manifest may be a bare array.
        Name::Manifest(_) if file.text.trim_start().starts_with('[') => {
            vec![format!("{{\"tools\":{}}}", compact(&file.text))]
        }
        Name::Manifest(_) | Name::ServerConfig => vec![compact(&file.text)],
    }
}

fn split_context(text: &str) -> Vec<String> {
    let part = |content, parts, upload| {
        let part = Part { content: Cow::Borrowed(content), parts, upload };
        serde_json::to_string(&part).expect("texts and numbers can be written as JSON")
    };
    let whole = part(text, None, None);
    if whole.len() <= MAX_DATA {
        return vec![whole];
    }
    let pieces = pieces(text, MAX_DATA - FRAME);
    let upload = digest(text);
    pieces.iter().map(|piece| part(*piece, Some(pieces.len()), Some(Cow::Borrowed(&*upload)))).collect()
}

/// Cuts a text into pieces that are at most `room` bytes as JSON, where possible at the end of a line.
fn pieces(mut text: &str, room: usize) -> Vec<&str> {
    let mut pieces = Vec::new();
    while !text.is_empty() {
        let mut used = 0;
        let fits = |(_, c): &(usize, char)| {
            used += written_length(*c);
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

/// How many bytes a character is in a JSON string.
fn written_length(c: char) -> usize {
    match c {
        '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
        c if c < ' ' => 6,
        c => c.len_utf8(),
    }
}

fn digest(text: &str) -> String {
    Sha256::digest(text).iter().take(8).fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// Puts a context together from its parts, each of them the JSON of an item.
pub(super) fn join(label: &str, parts: &BTreeMap<usize, File>) -> Result<File, AssetError> {
    let broken = |what: String| AssetError::Parts { file: label.to_owned(), what };
    let mut text = String::new();
    let mut uploads = Vec::new();
    for (expected, (part, file)) in (1..).zip(parts) {
        if *part != expected {
            return Err(broken(format!("part {expected} is missing")));
        }
        let (read, _) = json::parse::<Part<'_>>(file)?;
        text.push_str(&read.content);
        uploads.push((read.parts, read.upload.map(Cow::into_owned)));
    }
    uploads.dedup();
    match uploads.as_slice() {
        [(Some(count), _)] if *count > parts.len() => Err(broken(format!("part {} is missing", parts.len() + 1))),
        [(Some(count), _)] if *count < parts.len() => Err(broken(format!("there are parts beyond the last, {count}"))),
        [_] => Ok(File { label: label.to_owned(), text }),
        _ => Err(broken("its parts are of different uploads, or one is under way".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn context() -> Name {
        Name::of_file("acme.md").unwrap().unwrap()
    }

    fn stored(text: &str) -> BTreeMap<usize, File> {
        let pieces = split(&context(), &File::new("acme.md", text));
        (1..).zip(pieces.iter().map(|piece| File::new("item", piece))).collect()
    }

    fn joined(parts: &BTreeMap<usize, File>) -> Result<String, String> {
        join("Context/acme", parts).map(|file| file.text).map_err(|error| error.to_string())
    }

    fn long(line: &str) -> String {
        format!("{line}\n").repeat(1000)
    }

    #[test]
    fn a_small_context_is_kept_as_everybody_keeps_it() {
        assert_eq!(split(&context(), &File::new("acme.md", "Be \"kind\".\n")), [r#"{"content":"Be \"kind\".\n"}"#]);
        let by_hand = BTreeMap::from([(1, File::new("item", r#"{ "content": "Be kind.", "author": "Ann" }"#))]);
        assert_eq!(joined(&by_hand).unwrap(), "Be kind.");
    }

    #[test]
    fn a_large_one_is_cut_at_the_ends_of_lines_and_is_whole_again() {
        let text = long("You are Acme's agent, and you are \"kind\".");
        let parts = stored(&text);
        assert_eq!(parts.len(), 3);
        assert!(parts.values().all(|part| part.text.contains(r#"\n","parts":3,"upload":""#)));
        assert_eq!(joined(&parts).unwrap(), text);
    }

    #[test]
    fn parts_that_do_not_belong_together_are_refused() {
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
    fn parts_that_were_cut_by_hand_need_say_nothing() {
        let part = |text| File::new("item", text);
        let parts = BTreeMap::from([(1, part(r#"{"content":"Be "}"#)), (2, part(r#"{"content":"kind."}"#))]);
        assert_eq!(joined(&parts).unwrap(), "Be kind.");
    }

    #[test]
    fn the_keys_of_items_lead_back() {
        let acme: Key = "acme".parse().unwrap();
        for part in [1, 2, 70] {
            assert_eq!(part_of(&item_key(&acme, part)), Some((acme.clone(), part)));
        }
        for key in ["acme#1", "acme#0", "acme#", "acme#two", "#2", "my context", "acme#2#3", ""] {
            assert_eq!(part_of(key), None, "{key}");
        }
    }

    proptest! {
        #[test]
        fn every_text_fits_and_is_whole_again(line in "[\\PC\"\\\\\t\u{1}é]{1,60}", lines in 1_usize..1500, ends in any::<bool>()) {
            let text = if ends { format!("{line}\n") } else { line }.repeat(lines);
            let parts = stored(&text);
            prop_assert!(parts.values().all(|part| part.text.len() <= MAX_DATA));
            prop_assert_eq!(joined(&parts).unwrap(), text);
        }
    }
}
