//! What must hold for any bytes from outside, as checks for a fuzzer. Each check panics if its input breaks a promise of
//! the code. The fuzz targets and their corpus are in `tests/fuzz/`.
//!
//! Compiled with `--cfg fuzzing`, which `cargo fuzz` sets, and for the tests, which check the corpus.

use std::fmt::Debug;

pub use crate::assets::check_asset;
pub use crate::flowise::check_flowise_stream;
pub use crate::llm::check_model_stream;
pub use crate::payment::check_payment_callback;
pub use crate::relay::check_relay_frame;

use secrecy::SecretString;

use crate::redact::{RedactedJson, StreamRedactor, has_card_number, redact_card_numbers};
use crate::twilio::Signer;
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

/// Checks a text that may have a card number: what the shield leaves has none, is left as it is by the shield, and does
/// not depend on how the text was cut into pieces, unless it is judged in parts.
pub fn check_shield(text: &[u8]) {
    let text = String::from_utf8_lossy(text);
    let shielded = redact_card_numbers(&text);
    assert!(!has_card_number(&shielded), "{shielded:?}");
    assert_eq!(redact_card_numbers(&shielded), shielded);
    if shielded == text {
        let chars: Vec<&str> = text.split("").filter(|char| !char.is_empty()).collect();
        for size in PIECE_SIZES {
            let mut stream = StreamRedactor::default();
            let mut passed: String = chars.chunks(size).map(|piece| stream.push(&piece.concat()).text).collect();
            passed.push_str(&stream.finish().text);
            if StreamRedactor::judges_in_parts(&text) {
                assert!(!has_card_number(&passed), "in pieces of {size} characters: {passed}");
            } else {
                assert_eq!(passed, text, "in pieces of {size} characters");
            }
        }
    }
    let json = RedactedJson::new(&text);
    let is_json = |text: &str| serde_json::from_str::<serde_json::Value>(text).is_ok();
    assert!(!has_card_number(json.as_str()) && (!is_json(&text) || is_json(json.as_str())), "{:?}", json.as_str());
}

/// Checks a signed request: a URL on the first line, a claimed signature on the second, and the body of a form. The true
/// signature is accepted, and the claimed one only if it is the true one.
pub fn check_signature(request: &[u8]) {
    let request = String::from_utf8_lossy(request);
    let mut lines = request.splitn(3, '\n');
    let mut line = || lines.next().unwrap_or_default();
    let (url, claimed, body) = (line(), line(), line());
    let form: Vec<(String, String)> = url::form_urlencoded::parse(body.as_bytes()).into_owned().collect();
    let signer = Signer::new(&SecretString::from("a token that the request does not know"));
    assert!(signer.verify(url, &form, &signer.sign(url, &form)), "{url:?} {form:?}");
    assert!(signer.verify_upgrade(url, &signer.sign(url, &[])), "{url:?}");
    assert!(!signer.verify(url, &form, claimed) && !signer.verify_body(url, body.as_bytes(), claimed), "{claimed:?}");
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

    use proptest::prelude::*;
    use proptest::sample::Index;

    /// The files of the corpus of a target.
    fn read_corpus(target: &str) -> Vec<Vec<u8>> {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(target);
        fs::read_dir(corpus).unwrap().map(|entry| fs::read(entry.unwrap().path()).unwrap()).collect()
    }

    /// Cuts out, repeats and replaces bytes of an input.
    fn mutate(input: &mut Vec<u8>, mutations: &[(Index, Index, Vec<u8>)]) {
        for (from, to, new) in mutations {
            let (from, to) = (from.index(input.len() + 1), to.index(input.len() + 1));
            let copied = if to < from { input[to..from].to_vec() } else { Vec::new() };
            input.splice(from..to.max(from), copied.iter().chain(new).copied());
        }
    }

    /// Checks random mutations of the corpus of a target; `PROPTEST_CASES` sets their number.
    fn check_mutations(target: &str, check: fn(&[u8])) {
        let corpus = read_corpus(target);
        let mutations =
            prop::collection::vec((any::<Index>(), any::<Index>(), prop::collection::vec(any::<u8>(), 0..4)), 1..6);
        proptest!(|(file: Index, mutations in mutations)| {
            let mut input = corpus[file.index(corpus.len())].clone();
            mutate(&mut input, &mutations);
            check(&input);
        });
    }

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
    fn every_frame_of_the_corpus_is_read_as_promised() {
        check_corpus("relay_frame", super::check_relay_frame);
    }

    #[test]
    fn every_callback_of_the_corpus_is_read_as_promised() {
        check_corpus("payment_callback", super::check_payment_callback);
    }

    #[test]
    fn every_asset_of_the_corpus_is_read_as_promised() {
        check_corpus("asset", super::check_asset);
    }

    #[test]
    fn every_signature_of_the_corpus_is_verified_as_promised() {
        check_corpus("signature", super::check_signature);
    }

    #[test]
    fn every_text_of_the_corpus_is_shielded_as_promised() {
        check_corpus("shield", super::check_shield);
    }

    #[test]
    fn mutated_frames_are_read_as_promised() {
        check_mutations("relay_frame", super::check_relay_frame);
    }

    #[test]
    fn mutated_callbacks_are_read_as_promised() {
        check_mutations("payment_callback", super::check_payment_callback);
    }

    #[test]
    fn mutated_assets_are_read_as_promised() {
        check_mutations("asset", super::check_asset);
    }

    #[test]
    fn mutated_signatures_are_verified_as_promised() {
        check_mutations("signature", super::check_signature);
    }

    #[test]
    fn mutated_texts_are_shielded_as_promised() {
        check_mutations("shield", super::check_shield);
    }

    #[test]
    fn mutated_flowise_streams_are_read_as_promised() {
        check_mutations("flowise_stream", super::check_flowise_stream);
    }

    #[test]
    fn every_text_of_the_corpus_is_spoken_as_promised() {
        check_corpus("speech", super::check_speech);
    }
}
