//! The report in words, for an assessor; and in a few lines, for a terminal.

use std::fmt::{self, Write as _};

use super::report::{Report, Verdict};

impl Report {
    /// The whole report.
    pub fn markdown(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = self.write(&mut text);
        text
    }

    /// What came of it, in a few lines.
    pub fn summary(&self) -> String {
        let bytes: usize = self.places.iter().map(|place| place.bytes).sum();
        let mut text = format!(
            "{} card numbers, {} ways, {} places, {bytes} bytes searched in {} s (seed {}).\n{}",
            self.numbers,
            self.ways.len(),
            self.places.len(),
            self.seconds,
            self.seed,
            self.verdict.words(),
        );
        for finding in &self.findings {
            let _ =
                write!(text, "\n  {} in {} ({}, number {})", finding.number, finding.place, finding.way, finding.case);
        }
        for unplayed in &self.unplayed {
            let _ = write!(text, "\n  not tried: {}, number {}: {}", unplayed.way, unplayed.case, unplayed.why);
        }
        for place in self.places.iter().filter(|place| !place.witness || place.control.found < place.control.written) {
            let _ = write!(text, "\n  a control was not found in {}", place.place);
        }
        text
    }

    fn write(&self, text: &mut String) -> fmt::Result {
        writeln!(text, "# Where card data went in a test of crelay-payments {}\n", self.version)?;
        writeln!(text, "**{}**\n", self.verdict.words())?;
        writeln!(
            text,
            "{}, seed {}, {} card numbers, {} s. To repeat it: `crelay-payments prove --numbers {} --seed {}` in the same set-up.\n",
            self.date, self.seed, self.numbers, self.seconds, self.numbers, self.seed
        )?;
        text.push_str(METHOD);
        self.write_findings(text)?;
        self.write_places(text)?;
        self.write_ways(text)?;
        self.write_set_up(text)?;
        writeln!(text, "## What this does not cover\n")?;
        self.not_covered.iter().try_for_each(|it| writeln!(text, "- {it}"))
    }

    fn write_findings(&self, text: &mut String) -> fmt::Result {
        writeln!(text, "## Findings\n")?;
        if self.findings.is_empty() {
            writeln!(text, "None.\n")?;
        } else {
            writeln!(text, "| place | way | case | number |\n| --- | --- | --- | --- |")?;
            for it in &self.findings {
                writeln!(text, "| {} | {} | {} | {} |", it.place, it.way, it.case, it.number)?;
            }
            text.push('\n');
        }
        if !self.unplayed.is_empty() {
            writeln!(text, "Not tried, since this set-up did something else:\n")?;
            for it in &self.unplayed {
                writeln!(text, "- {}, case {}: {}", it.way, it.case, cell(&it.why))?;
            }
            text.push('\n');
        }
        Ok(())
    }

    fn write_places(&self, text: &mut String) -> fmt::Result {
        writeln!(text, "## Places\n\n{PLACES}\n")?;
        writeln!(text, "| place | pieces | bytes | witness | controls | what can reach it | what stops it |")?;
        writeln!(text, "| --- | ---: | ---: | --- | --- | --- | --- |")?;
        for it in &self.places {
            let witness = if it.witness { "seen" } else { "**not seen**" };
            let control = &it.control;
            writeln!(
                text,
                "| {} | {} | {} | {witness} | {} of {} | {} | {} |",
                it.place, it.pieces, it.bytes, control.found, control.written, it.reached_by, it.stopped_by
            )?;
        }
        text.push('\n');
        Ok(())
    }

    fn write_ways(&self, text: &mut String) -> fmt::Result {
        writeln!(text, "## Ways\n\n| way | where the card number is | tried |\n| --- | --- | ---: |")?;
        for it in &self.ways {
            writeln!(text, "| {} | {} | {} |", it.way, it.about, it.times)?;
        }
        text.push('\n');
        Ok(())
    }

    fn write_set_up(&self, text: &mut String) -> fmt::Result {
        let set_up = &self.set_up;
        writeln!(text, "## Set-up\n\n| variable | value |\n| --- | --- |")?;
        for (name, value) in &set_up.configured {
            writeln!(text, "| `{name}` | {} |", value.as_deref().map_or("as configured, not shown".to_owned(), cell))?;
        }
        for name in &set_up.replaced {
            writeln!(text, "| `{name}` | configured; replaced by a stand-in's, or left out |")?;
        }
        for name in &set_up.filled_in {
            writeln!(text, "| `{name}` | not configured; filled in |")?;
        }
        writeln!(text, "\nWhat is not listed is not set, and has its default.\n")?;
        if set_up.assets.is_empty() {
            return writeln!(text, "Contexts, manifests and serverConfig.json: those built into the program.\n");
        }
        writeln!(text, "| asset | SHA-256 |\n| --- | --- |")?;
        set_up.assets.iter().try_for_each(|(file, hash)| writeln!(text, "| {} | `{hash}` |", cell(file)))?;
        writeln!(text)
    }
}

const METHOD: &str = "The server ran as a process of its own, with the set-up below and its log at `RUST_LOG=trace`. Twilio, \
     ConversationRelay, the model, the business and the operator were played by stand-ins over real HTTP and real sockets. Card \
     numbers were generated (all brands and lengths, valid check digits, nobody's), entered on the keypad or misplaced, and every \
     byte that left the process was searched for each of them: in numerals with anything between, in words, in the letters in \
     which it was put there, percent-encoded, and spread over tokens. Where a card was entered as it should be, expiry date, \
     security code, postal code and payment token were searched for too, made longer than real ones so that none is found by \
     chance.\n\n";

const PLACES: &str = "*Witness*: a harmless word took the ways of the numbers through an ordinary call, and was seen in what was \
     caught here (or the SID of that call was): the place is really watched. *Controls*: card numbers were written into what was \
     caught here, in five forms; so many of them the search found.";

impl Verdict {
    /// What it means, in a sentence.
    pub fn words(self) -> &'static str {
        match self {
            Self::NothingFound => "No card data was found in anything that left the server.",
            Self::Found => "Card data was found where it does not belong.",
            Self::Incomplete => {
                "Nothing was found, but something could not be tried or a control was not found: this shows less than it has to."
            }
        }
    }
}

/// A text in a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace(['\n', '\r'], " ")
}
