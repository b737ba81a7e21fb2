//! The report of a proof run. It contains no card number.

use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::capture::OutputChannel;
use super::control::{SearchControl, run_search_control};
use super::data_flow::DataFlow;
use super::setup::TestedSetup;
use super::vector::LeakVector;
use super::{ProofOptions, ProofResults};
use crate::redact::redact_card_numbers;
use crate::simulator::card_samples::CardSample;

/// The report. [`ProofReport::to_json`] writes it for programs, [`ProofReport::to_markdown`] for an assessor.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ProofReport {
    /// The overall result.
    pub verdict: ProofVerdict,
    /// The version of crelay-payments.
    pub version: &'static str,
    /// The tested binary.
    pub program: String,
    /// The SHA-256 of the tested binary, in hexadecimal; empty if it could not be read.
    pub program_sha256: String,
    /// When the run ended.
    pub date: Timestamp,
    /// The duration in seconds.
    pub seconds: u64,
    /// The seed. The same seed repeats the run.
    pub seed: u64,
    /// The number of card numbers used.
    pub numbers: usize,
    /// The tested configuration.
    pub set_up: TestedSetup,
    /// The flow of card data, the providers, who answers for what, and the settings that matter.
    pub data_flow: DataFlow,
    /// The leak vectors and how often each was used.
    #[serde(rename = "ways")]
    pub vectors: Vec<VectorResult>,
    /// The output channels and what was searched there.
    #[serde(rename = "places")]
    pub channels: Vec<ChannelResult>,
    /// The leaks that were found.
    pub findings: Vec<LeakFinding>,
    /// The cases that could not be run with this configuration.
    #[serde(rename = "unplayed")]
    pub failed_cases: Vec<FailedCase>,
    /// What the run cannot show.
    pub not_covered: &'static [&'static str],
}

/// The overall result of a run. The variant names are JSON values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum ProofVerdict {
    /// All vectors and channels were covered, every control was found, and no card data was found.
    NothingFound,
    /// Card data was found.
    Found,
    /// No card data was found, but a case could not be run or a control failed.
    Incomplete,
}

/// A leak vector and how often it was used.
#[derive(Debug, Clone, Serialize)]
pub struct VectorResult {
    /// The vector's name.
    #[serde(rename = "way")]
    pub vector: String,
    /// A description of the vector.
    pub about: &'static str,
    /// How many cases used it.
    pub times: usize,
}

/// An output channel that was searched.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ChannelResult {
    /// The channel's name.
    #[serde(rename = "place")]
    pub channel: &'static str,
    /// The number of requests, frames, responses, log lines or files.
    pub pieces: usize,
    /// The size in bytes.
    pub bytes: usize,
    /// Whether the canary was seen there.
    #[serde(rename = "witness")]
    pub canary_seen: bool,
    /// The result of searching for inserted card numbers.
    pub control: SearchControl,
    /// Which data could carry card data there.
    pub reached_by: &'static str,
    /// What keeps card data out.
    pub stopped_by: &'static str,
}

/// Card data found in an output channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LeakFinding {
    /// The channel's name.
    #[serde(rename = "place")]
    pub channel: &'static str,
    /// The vector by which it reached the server.
    #[serde(rename = "way")]
    pub vector: String,
    /// The case number, from 0.
    pub case: usize,
    /// The card number with all but its last four digits masked as `x`.
    pub number: String,
}

/// A case that could not be run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FailedCase {
    /// The vector.
    #[serde(rename = "way")]
    pub vector: String,
    /// The case number, from 0.
    pub case: usize,
    /// The error.
    pub why: String,
}

/// What a test with stand-ins cannot show.
const NOT_COVERED: &[&str] = &[
    "Twilio itself: what Twilio stores of the call and the keypad input, and how the real Payments API masks its callbacks.",
    "Call recordings and transcripts made by Twilio or a carrier. Pause recordings during a capture.",
    "The speech-to-text and text-to-speech providers, which receive a spoken number before the server does.",
    "The model's provider, beyond the requests it receives, and any proxy, tunnel or log collector around the server.",
    "Numbers spoken in languages other than English, Spanish and German, or misrecognised.",
    "The memory of the process, core dumps and swap space.",
    "Leak vectors that are not in the list above.",
];

impl LeakFinding {
    /// Creates a finding with the card number masked.
    pub(super) fn new(channel: &'static str, vector: LeakVector, case: usize, sample: &CardSample) -> Self {
        let hidden = sample.number.len().saturating_sub(4);
        let number = "x".repeat(hidden) + sample.number.get(hidden..).unwrap_or_default();
        Self { channel, vector: format!("{vector:?}"), case, number }
    }
}

impl FailedCase {
    /// Creates a failed case with its error, from which card numbers are redacted.
    pub(super) fn new(vector: LeakVector, case: usize, why: &anyhow::Error) -> Self {
        let why = redact_card_numbers(&format!("{why:#}")).into_owned();
        Self { vector: format!("{vector:?}"), case, why }
    }
}

impl ProofReport {
    pub(super) fn new(options: &ProofOptions, set_up: TestedSetup, results: ProofResults, duration: Duration) -> Self {
        let vector_result = |vector: &LeakVector| VectorResult {
            vector: format!("{vector:?}"),
            about: vector.description(),
            times: results.runs_by_vector.get(vector).copied().unwrap_or_default(),
        };
        let channel_result = |channel: OutputChannel| {
            let size = results.captured_sizes.get(channel.name()).copied().unwrap_or_default();
            let sample = results.channel_samples.iter().find(|sample| sample.channel == channel.name());
            ChannelResult {
                channel: channel.name(),
                pieces: size.pieces,
                bytes: size.bytes,
                canary_seen: results.canary.is_seen_in(channel),
                control: sample.map_or(SearchControl { written: 0, found: 0 }, |sample| {
                    run_search_control(channel, sample, options.seed)
                }),
                reached_by: channel.reached_by(),
                stopped_by: channel.stopped_by(),
            }
        };
        let mut report = Self {
            verdict: ProofVerdict::Incomplete,
            version: env!("CARGO_PKG_VERSION"),
            program: options.program.display().to_string(),
            program_sha256: std::fs::read(&options.program)
                .map(|bytes| hex::encode(Sha256::digest(bytes)))
                .unwrap_or_default(),
            date: Timestamp::from_second(Timestamp::now().as_second()).unwrap_or_default(),
            seconds: duration.as_secs(),
            seed: options.seed,
            numbers: options.numbers,
            data_flow: set_up.data_flow.clone(),
            set_up,
            vectors: LeakVector::ALL.iter().map(vector_result).collect(),
            channels: OutputChannel::ALL.map(channel_result).into(),
            findings: results.findings,
            failed_cases: results.failed_cases,
            not_covered: NOT_COVERED,
        };
        report.verdict = report.compute_verdict();
        report
    }

    fn compute_verdict(&self) -> ProofVerdict {
        let sound =
            |it: &ChannelResult| it.canary_seen && it.control.written > 0 && it.control.found == it.control.written;
        match () {
            () if !self.findings.is_empty() => ProofVerdict::Found,
            () if !self.failed_cases.is_empty() || !self.channels.iter().all(sound) => ProofVerdict::Incomplete,
            () if self.vectors.iter().any(|vector| vector.times == 0) => ProofVerdict::Incomplete,
            () => ProofVerdict::NothingFound,
        }
    }

    /// Returns the report as JSON.
    pub fn to_json(&self) -> serde_json::Result<String> {
        serde_json::to_string_pretty(self)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Vars;
    use crate::proof::capture::add_sizes;
    use crate::proof::control::CANARY_CASE;
    use crate::proof::setup::prepare_setup;
    use crate::simulator::card_samples::SeededRng;
    use crate::simulator::leak_scan::CapturedOutput;

    /// Results in which every vector was used once and every channel was searched.
    fn results() -> ProofResults {
        let call = format!("CA{CANARY_CASE:032x}");
        let samples: Vec<CapturedOutput> = OutputChannel::ALL
            .iter()
            .map(|channel| CapturedOutput { channel: channel.name(), bytes: call.clone() })
            .collect();
        let mut results = ProofResults {
            runs_by_vector: LeakVector::ALL.iter().map(|vector| (*vector, 1)).collect(),
            ..ProofResults::default()
        };
        results.canary.record(&samples);
        add_sizes(&mut results.captured_sizes, &samples);
        ProofResults { channel_samples: samples, ..results }
    }

    fn report(results: ProofResults) -> ProofReport {
        let options = ProofOptions { program: "x".into(), vars: Vars::default(), numbers: 23, seed: 3 };
        let set_up =
            prepare_setup(&options.vars, "http://127.0.0.1:1", "http://127.0.0.1:2", Path::new("/x")).unwrap().set_up;
        ProofReport::new(&options, set_up, results, Duration::from_secs(4))
    }

    #[test]
    fn nothing_found_requires_every_vector_and_channel() {
        assert_eq!(report(results()).verdict, ProofVerdict::NothingFound);
        let mut without_samples = results();
        without_samples.channel_samples.retain(|sample| sample.channel != OutputChannel::Webhook.name());
        assert_eq!(report(without_samples).verdict, ProofVerdict::Incomplete);
        let mut without_vector = results();
        without_vector.runs_by_vector.remove(&LeakVector::Callback);
        assert_eq!(report(without_vector).verdict, ProofVerdict::Incomplete);
        let mut without_canary = results();
        without_canary.canary = super::super::control::CanarySightings::default();
        assert_eq!(report(without_canary).verdict, ProofVerdict::Incomplete);
        let mut unplayed = results();
        unplayed.failed_cases.push(FailedCase::new(LeakVector::Tones, 7, &anyhow::anyhow!("the agent said nothing")));
        let report = report(unplayed);
        assert_eq!(report.verdict, ProofVerdict::Incomplete);
        assert!(report.summary().contains("Tones") && report.to_markdown().contains("the agent said nothing"));
    }

    #[test]
    fn accepted_attributes_that_are_not_compliant_are_printed() {
        let mut report = report(results());
        assert!(!report.summary().contains("Not PCI compliant"));
        report.set_up.not_compliant = vec!["turnDetection", "customerName"];
        for text in [report.summary(), report.to_markdown()] {
            assert!(text.contains("accepted by Pci.acceptNonCompliant: turnDetection, customerName."), "{text}");
        }
        assert!(report.to_json().unwrap().contains(r#""notCompliant": ["#));
    }

    #[test]
    fn a_finding_shows_its_channel_its_vector_and_a_masked_number() {
        let sample = CardSample::random(&mut SeededRng::new(3));
        let mut with_finding = results();
        with_finding.findings.push(LeakFinding::new(OutputChannel::Log.name(), LeakVector::Spoken, 1, &sample));
        let report = report(with_finding);
        assert_eq!(report.verdict, ProofVerdict::Found);
        let last = &sample.number[sample.number.len() - 4..];
        for text in [report.summary(), report.to_markdown(), report.to_json().unwrap()] {
            assert!(
                text.contains("Spoken") && text.contains("the log") && text.contains(&format!("xxxx{last}")),
                "{text}"
            );
            assert!(!text.contains(&sample.number) && !text.contains(&sample.text()), "{text}");
        }
    }
}
