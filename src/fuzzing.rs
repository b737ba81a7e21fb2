//! What must hold for any bytes from outside, as checks for a fuzzer. Each check panics if its input breaks a promise of
//! the code. The fuzz targets and their corpus are in `tests/fuzz/`.
//!
//! Compiled with `--cfg fuzzing`, which `cargo fuzz` sets, and for the tests, which check the corpus.

use std::fmt::Debug;

pub use crate::flowise::check_flowise_stream;
pub use crate::llm::check_model_stream;

use crate::{call, llm};

/// The sizes of the pieces in which an input arrives: each place is cut, and some places are not.
const PIECE_SIZES: [usize; 2] = [1, 7];

/// Checks text of a model, the way it takes to the caller: neither removing mark-up nor making it speakable depends on
/// how the text is cut into pieces, and no mark-up makes a text longer.
pub fn check_speech(text: &[u8]) {
    let text = String::from_utf8_lossy(text);
    let chars: Vec<&str> = text.split("").filter(|char| !char.is_empty()).collect();
    for may_begin_in_reasoning in [false, true] {
        let answer = llm::remove_markup(may_begin_in_reasoning, [&*text]);
        assert!(answer.len() <= text.len(), "{answer:?} is longer than the text");
        let spoken = call::make_speakable([answer.as_str()]);
        for size in PIECE_SIZES {
            let pieces = || chars.chunks(size).map(<[&str]>::concat);
            let in_pieces = llm::remove_markup(may_begin_in_reasoning, pieces());
            assert_eq!(in_pieces, answer, "without mark-up, in pieces of {size} characters");
            let answer: Vec<&str> = answer.split("").filter(|char| !char.is_empty()).collect();
            let in_pieces = call::make_speakable(answer.chunks(size).map(<[&str]>::concat));
            assert_eq!(in_pieces, spoken, "speakable, in pieces of {size} characters");
        }
    }
}

/// Reads an input whole and in pieces, which must make no difference. Returns what was read.
pub(crate) fn read_in_pieces<T: PartialEq + Debug>(
    input: &[u8],
    read: impl Fn(&mut dyn Iterator<Item = &[u8]>) -> T,
) -> T {
    let whole = read(&mut std::iter::once(input));
    for size in PIECE_SIZES {
        assert_eq!(read(&mut input.chunks(size)), whole, "in pieces of {size} bytes");
    }
    whole
}

/// The size of an input as text, in bytes. What is not UTF-8 becomes U+FFFD, which has three bytes.
pub(crate) fn text_size(input: &[u8]) -> usize {
    String::from_utf8_lossy(input).len()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    /// Checks each file of the corpus of a target.
    fn check_corpus(target: &str, check: fn(&[u8])) {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(target);
        let mut files: Vec<_> = fs::read_dir(&corpus).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        assert!(files.len() >= 5, "{} has {} files", corpus.display(), files.len());
        for file in files {
            // Shown if the check fails.
            println!("{}", file.display());
            check(&fs::read(&file).unwrap());
        }
    }

    #[test]
    fn every_model_stream_of_the_corpus_is_read_as_promised() {
        check_corpus("model_stream", super::check_model_stream);
    }

    #[test]
    fn every_flowise_stream_of_the_corpus_is_read_as_promised() {
        check_corpus("flowise_stream", super::check_flowise_stream);
    }

    #[test]
    fn every_text_of_the_corpus_is_spoken_as_promised() {
        check_corpus("speech", super::check_speech);
    }
}
