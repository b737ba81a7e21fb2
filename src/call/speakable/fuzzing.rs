//! The speakable form of a text that arrives in pieces, for a fuzzer.

use super::SpeakableText;

/// The maximum size of what is held back, in bytes: 2 KiB, and the last piece.
const MAX_HELD_BYTES: usize = 4096;

/// What is spoken of a text that arrives in these pieces. Panics if too much of it is held back.
pub(crate) fn make_speakable(pieces: impl IntoIterator<Item = impl AsRef<str>>) -> String {
    let (mut speakable, mut spoken) = (SpeakableText::default(), String::new());
    for piece in pieces {
        spoken += &speakable.push(piece.as_ref());
        assert!(speakable.text.len() <= MAX_HELD_BYTES, "{speakable:?} is held back");
    }
    spoken + &speakable.finish()
}
