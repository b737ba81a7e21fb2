//! The report as Markdown for an assessor, and its summary for a terminal.

use std::fmt::{self, Write as _};

use super::report::{ProofReport, ProofVerdict};

impl ProofReport {
    /// Returns the whole report as Markdown.
    pub fn to_markdown(&self) -> String {
        let mut text = String::new();
        // Writing to a `String` cannot fail.
        let _ = self.write_markdown(&mut text);
        text
    }

    /// Returns the verdict, the findings and the failed cases in a few lines.
    pub fn summary(&self) -> String {
        let bytes: usize = self.channels.iter().map(|channel| channel.bytes).sum();
        let mut text = format!(
            "{} card numbers, {} vectors, {} channels, {bytes} bytes searched in {} s (seed {}).\n{}",
            self.numbers,
            self.vectors.len(),
            self.channels.len(),
            self.seconds,
            self.seed,
            self.verdict.description(),
        );
        for finding in &self.findings {
            let _ = write!(
                text,
                "\n  {} in {} ({}, case {})",
                finding.number, finding.channel, finding.vector, finding.case
            );
        }
        if let Some(warning) = self.non_compliance() {
            let _ = write!(text, "\n  {warning}");
        }
        for unplayed in &self.failed_cases {
            let _ = write!(text, "\n  not run: {}, case {}: {}", unplayed.vector, unplayed.case, unplayed.why);
        }
        for channel in self
            .channels
            .iter()
            .filter(|channel| !channel.canary_seen || channel.control.found < channel.control.written)
        {
            let _ = write!(text, "\n  a control was not found in {}", channel.channel);
        }
        text
    }

    fn write_markdown(&self, text: &mut String) -> fmt::Result {
        writeln!(text, "# Card data leak test of crelay-payments {}\n", self.version)?;
        writeln!(text, "**{}**\n", self.verdict.description())?;
        writeln!(
            text,
            "{}, seed {}, {} card numbers, {} s. To repeat it, run `crelay-payments prove --numbers {} --seed {} --server {}` with the same configuration.\n",
            self.date, self.seed, self.numbers, self.seconds, self.numbers, self.seed, self.program
        )?;
        writeln!(text, "The tested binary is `{}`, SHA-256 `{}`.\n", self.program, self.program_sha256)?;
        text.push_str(METHOD);
        self.write_findings(text)?;
        self.write_channels(text)?;
        self.write_vectors(text)?;
        self.write_data_flow(text)?;
        self.write_set_up(text)?;
        writeln!(text, "## What this test does not cover\n")?;
        self.not_covered.iter().try_for_each(|it| writeln!(text, "- {it}"))
    }

    /// Names the attributes that are not PCI compliant and were accepted, if there are any.
    fn non_compliance(&self) -> Option<String> {
        let attributes = self.set_up.not_compliant.join(", ");
        (!attributes.is_empty()).then(|| {
            format!(
                "Not PCI compliant, and accepted by Pci.acceptNonCompliant: {attributes}. What is said on a call goes to products of \
                 Twilio that this test does not cover."
            )
        })
    }

    fn write_findings(&self, text: &mut String) -> fmt::Result {
        writeln!(text, "## Findings\n")?;
        if self.findings.is_empty() {
            writeln!(text, "None.\n")?;
        } else {
            writeln!(text, "| channel | vector | case | number |\n| --- | --- | --- | --- |")?;
            for it in &self.findings {
                writeln!(text, "| {} | {} | {} | {} |", it.channel, it.vector, it.case, it.number)?;
            }
            text.push('\n');
        }
        if !self.failed_cases.is_empty() {
            writeln!(text, "Cases that could not be run with this configuration:\n")?;
            for it in &self.failed_cases {
                writeln!(text, "- {}, case {}: {}", it.vector, it.case, escape_cell(&it.why))?;
            }
            text.push('\n');
        }
        Ok(())
    }

    fn write_channels(&self, text: &mut String) -> fmt::Result {
        writeln!(text, "## Output channels\n\n{CHANNELS}\n")?;
        writeln!(
            text,
            "| channel | pieces | bytes | canary | controls | what could carry card data | what stops it |"
        )?;
        writeln!(text, "| --- | ---: | ---: | --- | --- | --- | --- |")?;
        for it in &self.channels {
            let canary = if it.canary_seen { "seen" } else { "**not seen**" };
            let control = &it.control;
            writeln!(
                text,
                "| {} | {} | {} | {canary} | {} of {} | {} | {} |",
                it.channel, it.pieces, it.bytes, control.found, control.written, it.reached_by, it.stopped_by
            )?;
        }
        text.push('\n');
        Ok(())
    }

    fn write_vectors(&self, text: &mut String) -> fmt::Result {
        writeln!(text, "## Leak vectors\n\n| vector | where the card number is | cases |\n| --- | --- | ---: |")?;
        for it in &self.vectors {
            writeln!(text, "| {} | {} | {} |", it.vector, it.about, it.times)?;
        }
        text.push('\n');
        Ok(())
    }

    fn write_data_flow(&self, text: &mut String) -> fmt::Result {
        let flow = &self.data_flow;
        writeln!(text, "## Flow of card data\n\n{DATA_FLOW}\n\n```mermaid\n{}```\n", flow.diagram)?;
        writeln!(text, "| from | to | what | card data |\n| --- | --- | --- | --- |")?;
        for it in &flow.flows {
            let card_data = it.card_data.describe();
            writeln!(text, "| {} | {} | {} | {card_data} |", it.from, it.to, escape_cell(&it.carries))?;
        }
        writeln!(text, "\n## Providers\n\n{PROVIDERS}\n")?;
        writeln!(
            text,
            "| provider | what it does | card data | attestation of compliance of |\n| --- | --- | --- | --- |"
        )?;
        for it in &flow.providers {
            let name = if it.name.is_empty() { BLANK.to_owned() } else { escape_cell(&it.name) };
            writeln!(text, "| {name} | {} | {} | {BLANK} |", escape_cell(&it.role), it.card_data.describe())?;
        }
        writeln!(text, "\n## Responsibilities (PCI DSS 4.0.1)\n\n{MATRIX}\n")?;
        writeln!(text, "| requirement | Twilio | payment processor | operator | this program |")?;
        writeln!(text, "| --- | --- | --- | --- | --- |")?;
        for it in flow.responsibilities {
            let cells = [it.requirement, it.twilio, it.processor, it.operator, it.program];
            writeln!(text, "| {} |", cells.map(|cell| if cell.is_empty() { "–" } else { cell }).join(" | "))?;
        }
        writeln!(text, "\n## Settings that matter\n\n| setting | effective | why it matters |\n| --- | --- | --- |")?;
        for it in &flow.settings {
            writeln!(text, "| `{}` | {} | {} |", it.name, escape_cell(&it.value), it.matters)?;
        }
        text.push('\n');
        Ok(())
    }

    fn write_set_up(&self, text: &mut String) -> fmt::Result {
        let set_up = &self.set_up;
        writeln!(text, "## Configuration\n\n| variable | value |\n| --- | --- |")?;
        for (name, value) in &set_up.configured {
            writeln!(
                text,
                "| `{name}` | {} |",
                value.as_deref().map_or("as configured, not shown".to_owned(), escape_cell)
            )?;
        }
        for name in &set_up.replaced {
            writeln!(text, "| `{name}` | configured; replaced for the test, or left out |")?;
        }
        for name in &set_up.filled_in {
            writeln!(text, "| `{name}` | not configured; set for the test |")?;
        }
        if let Some(warning) = self.non_compliance() {
            writeln!(text, "\n**{warning}**")?;
        }
        writeln!(text, "\nVariables that are not listed are not set and have their defaults.\n")?;
        if !set_up.languages.is_empty() {
            writeln!(text, "| language of the caller | what holds |\n| --- | --- |")?;
            let mut languages = set_up.languages.iter();
            languages.try_for_each(|(tag, holds)| writeln!(text, "| {} | {holds} |", escape_cell(tag)))?;
            writeln!(text)?;
        }
        if set_up.assets.is_empty() {
            return writeln!(text, "Contexts, manifests and serverConfig.json are those built into the program.\n");
        }
        writeln!(text, "| asset | SHA-256 |\n| --- | --- |")?;
        set_up.assets.iter().try_for_each(|(file, hash)| writeln!(text, "| {} | `{hash}` |", escape_cell(file)))?;
        writeln!(text)
    }
}

const METHOD: &str = "The server ran as a separate process, with the configuration below and its log at \
     `RUST_LOG=trace`. Twilio, ConversationRelay, the model, the business and the operator were stand-ins over real \
     HTTP and WebSocket connections. Card numbers were generated (all brands and lengths, valid check digits, none \
     of them issued), entered on the keypad or sent through a leak vector. Every byte that left the process was \
     searched for each of them: as digits with any separators, as number words, as the text that was sent, \
     percent-encoded, and split over tokens. Where a card was entered on the keypad, expiry date, security code, \
     postal code and payment token were searched for too; they were longer than real ones, so that none is found by \
     chance.\n\n";

const CHANNELS: &str = "*Canary*: a harmless word was sent through the vectors in an ordinary call, and it, or the SID \
     of that call, was seen in the captured output of this channel, which shows that the channel is captured. \
     *Controls*: card numbers were inserted into the captured output in five encodings; the count is how many of \
     them the search found. In the JSON report, channels, vectors and the canary have the keys `places`, `ways` and \
     `witness`.";

const DATA_FLOW: &str = "Made from the configuration, with the services that it names in place of the stand-ins of the test. \
     *Thick arrows* carry card data by design. *Dotted arrows* carry card data only if somebody says, types or writes it where \
     it does not belong, or what is left of it in a masked callback; this test puts card numbers there. *Thin arrows* carry none: \
     those that leave this program are the output channels above. What no configuration shows is not in it: recordings, \
     proxies, people who hear the call.";

const PROVIDERS: &str = "For 12.8.1 and 12.8.4. Fill in the names that the configuration does not tell, and the dates.";

const MATRIX: &str = "A draft for 12.8.5, from the view of this program. What you agreed on with Twilio and the processor, and \
     their own responsibility matrices, decide.";

/// What is to be filled in.
const BLANK: &str = "\\_\\_\\_\\_\\_\\_\\_\\_";

impl ProofVerdict {
    /// The verdict in one sentence.
    pub fn description(self) -> &'static str {
        match self {
            Self::NothingFound => "No card data was found in the server's output.",
            Self::Found => "Card data was found in the server's output.",
            Self::Incomplete => {
                "No card data was found, but the test is incomplete: a case could not be run or a control was not found."
            }
        }
    }
}

/// Escapes a text for a table cell.
fn escape_cell(text: &str) -> String {
    text.replace('|', "\\|").replace(['\n', '\r'], " ")
}
