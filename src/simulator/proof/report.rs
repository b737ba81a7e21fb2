//! What the proof has shown, as it is written down. No card number stands in it.

use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use super::catch::Place;
use super::control::{Control, control};
use super::setup::SetUp;
use super::way::Way;
use super::{Options, Searched};
use crate::redact::without_card_numbers;
use crate::simulator::planted::Planted;

/// The report; as JSON in the names of its fields, and readable as [`Report::markdown`].
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// What came of it.
    pub verdict: Verdict,
    /// The version of the program.
    pub version: &'static str,
    /// When it was finished.
    pub date: Timestamp,
    /// How long it took, in seconds.
    pub seconds: u64,
    /// The same seed, the same numbers in the same ways.
    pub seed: u64,
    /// How many card numbers were put somewhere.
    pub numbers: usize,
    /// What was proved.
    pub set_up: SetUp,
    /// Each way, and how often it was tried.
    pub ways: Vec<Tried>,
    /// Each place, and what was searched there.
    pub places: Vec<Searching>,
    /// Where card data was found.
    pub findings: Vec<Finding>,
    /// What could not be tried in this set-up.
    pub unplayed: Vec<Unplayed>,
    /// What this does not show.
    pub not_covered: &'static [&'static str],
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    /// Everything was tried and searched, every control was found, and no card data was.
    NothingFound,
    /// Card data was found.
    Found,
    /// Nothing was found; but something could not be tried, or a control failed, so that this shows less than it has to.
    Incomplete,
}

/// A way, and how often it was tried.
#[derive(Debug, Clone, Serialize)]
pub struct Tried {
    /// The way.
    pub way: String,
    /// What happens in it.
    pub about: &'static str,
    /// How often.
    pub times: usize,
}

/// A place that was searched.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Searching {
    /// The place.
    pub place: &'static str,
    /// How many requests, frames, answers, lines or files.
    pub pieces: usize,
    /// How many bytes.
    pub bytes: usize,
    /// Whether a harmless word was seen there that took the ways of the numbers.
    pub witness: bool,
    /// The search, on numbers that were written there.
    pub control: Control,
    /// What could get there.
    pub reached_by: &'static str,
    /// Why it does not.
    pub stopped_by: &'static str,
}

/// Card data in a place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Where it was found.
    pub place: &'static str,
    /// How it was put into the server.
    pub way: String,
    /// Which number, counted from 0.
    pub case: usize,
    /// Its last four digits, behind as many x as it has others.
    pub number: String,
}

/// A number that could not be put where it was to go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unplayed {
    /// How it was to be put there.
    pub way: String,
    /// Which number, counted from 0.
    pub case: usize,
    /// What did not happen.
    pub why: String,
}

/// What a proof between stand-ins cannot show.
const NOT_COVERED: &[&str] = &[
    "Twilio itself: what Twilio keeps of the call and of the keys, and how the real Payments API masks its reports.",
    "Recordings and transcripts of the call that Twilio or a carrier makes; pause recordings during a capture.",
    "The providers of speech-to-text and text-to-speech: they hear a number that is read out before the server does.",
    "The model's provider, beyond what it is sent; and any proxy, tunnel or log collector around the server.",
    "Numbers that are spoken in words of other languages than those that are planted (English, Spanish, German), or misheard.",
    "The memory of the process, its core dumps and the swap space of its machine.",
    "Ways of misplacing a number that nobody has thought of.",
];

impl Finding {
    /// This number was found there.
    pub(super) fn new(place: &'static str, way: Way, case: usize, planted: &Planted) -> Self {
        let hidden = planted.number.len().saturating_sub(4);
        let number = "x".repeat(hidden) + planted.number.get(hidden..).unwrap_or_default();
        Self { place, way: format!("{way:?}"), case, number }
    }
}

impl Unplayed {
    /// It could not be put there, since.
    pub(super) fn new(way: Way, case: usize, why: &anyhow::Error) -> Self {
        let why = without_card_numbers(&format!("{why:#}")).into_owned();
        Self { way: format!("{way:?}"), case, why }
    }
}

impl Report {
    pub(super) fn new(options: &Options, set_up: SetUp, searched: Searched, took: Duration) -> Self {
        let tried = |way: &Way| Tried {
            way: format!("{way:?}"),
            about: way.about(),
            times: searched.tried.get(way).copied().unwrap_or_default(),
        };
        let searching = |place: Place| {
            let size = searched.sizes.get(place.name()).copied().unwrap_or_default();
            let sample = searched.samples.iter().find(|sample| sample.place == place.name());
            Searching {
                place: place.name(),
                pieces: size.pieces,
                bytes: size.bytes,
                witness: searched.witness.was_in(place),
                control: sample.map_or(Control { written: 0, found: 0 }, |sample| control(place, sample, options.seed)),
                reached_by: place.reached_by(),
                stopped_by: place.stopped_by(),
            }
        };
        let mut report = Self {
            verdict: Verdict::Incomplete,
            version: env!("CARGO_PKG_VERSION"),
            date: Timestamp::from_second(Timestamp::now().as_second()).unwrap_or_default(),
            seconds: took.as_secs(),
            seed: options.seed,
            numbers: options.numbers,
            set_up,
            ways: Way::ALL.iter().map(tried).collect(),
            places: Place::ALL.map(searching).into(),
            findings: searched.findings,
            unplayed: searched.unplayed,
            not_covered: NOT_COVERED,
        };
        report.verdict = report.judged();
        report
    }

    fn judged(&self) -> Verdict {
        let sound = |it: &Searching| it.witness && it.control.written > 0 && it.control.found == it.control.written;
        match () {
            () if !self.findings.is_empty() => Verdict::Found,
            () if !self.unplayed.is_empty() || !self.places.iter().all(sound) => Verdict::Incomplete,
            () if self.ways.iter().any(|way| way.times == 0) => Verdict::Incomplete,
            () => Verdict::NothingFound,
        }
    }

    /// The report as JSON.
    pub fn json(&self) -> serde_json::Result<String> {
        serde_json::to_string_pretty(self)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Vars;
    use crate::simulator::planted::Dice;
    use crate::simulator::proof::catch::weigh;
    use crate::simulator::proof::control::CASE;
    use crate::simulator::proof::setup::prepare;
    use crate::simulator::prying::Evidence;

    /// A proof in which everything was tried once and each place was searched.
    fn searched() -> Searched {
        let call = format!("CA{CASE:032x}");
        let samples: Vec<Evidence> =
            Place::ALL.iter().map(|place| Evidence { place: place.name(), bytes: call.clone() }).collect();
        let mut searched = Searched { tried: Way::ALL.iter().map(|way| (*way, 1)).collect(), ..Searched::default() };
        searched.witness.look(&samples);
        weigh(&mut searched.sizes, &samples);
        Searched { samples, ..searched }
    }

    fn report(searched: Searched) -> Report {
        let options = Options { program: "x".into(), vars: Vars::default(), numbers: 23, seed: 3 };
        let set_up =
            prepare(&options.vars, "http://127.0.0.1:1", "http://127.0.0.1:2", Path::new("/x")).unwrap().set_up;
        Report::new(&options, set_up, searched, Duration::from_secs(4))
    }

    #[test]
    fn nothing_found_means_that_everything_was_tried_and_searched() {
        assert_eq!(report(searched()).verdict, Verdict::NothingFound);
        let mut unwatched = searched();
        unwatched.samples.retain(|sample| sample.place != Place::Webhook.name());
        assert_eq!(report(unwatched).verdict, Verdict::Incomplete);
        let mut untried = searched();
        untried.tried.remove(&Way::Callback);
        assert_eq!(report(untried).verdict, Verdict::Incomplete);
        let mut unseen = searched();
        unseen.witness = super::super::control::Witness::default();
        assert_eq!(report(unseen).verdict, Verdict::Incomplete);
        let mut unplayed = searched();
        unplayed.unplayed.push(Unplayed::new(Way::Tones, 7, &anyhow::anyhow!("the agent said nothing")));
        let report = report(unplayed);
        assert_eq!(report.verdict, Verdict::Incomplete);
        assert!(report.summary().contains("Tones") && report.markdown().contains("the agent said nothing"));
    }

    #[test]
    fn a_finding_is_told_with_its_place_and_its_way_and_a_masked_number() {
        let planted = Planted::whole(&mut Dice::new(3));
        let mut leaky = searched();
        leaky.findings.push(Finding::new(Place::Log.name(), Way::Spoken, 1, &planted));
        let report = report(leaky);
        assert_eq!(report.verdict, Verdict::Found);
        let last = &planted.number[planted.number.len() - 4..];
        for text in [report.summary(), report.markdown(), report.json().unwrap()] {
            assert!(
                text.contains("Spoken") && text.contains("the log") && text.contains(&format!("xxxx{last}")),
                "{text}"
            );
            assert!(!text.contains(&planted.number) && !text.contains(&planted.text()), "{text}");
        }
    }
}
