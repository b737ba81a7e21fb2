//! Whether the search can find anything: a harmless word that is let through has to show in each place, and a card number that
//! is written into what was caught there has to be found.

use std::collections::BTreeSet;

use anyhow::Context as _;
use serde_json::json;

use super::attempt::{Attempt, Chat};
use super::catch::Place;
use super::model::Reply;
use super::payment;
use super::way::Way;
use super::world::World;
use crate::simulator::planted::{Dice, Planted};
use crate::simulator::prying::{Evidence, Found, search};

/// The word; nothing else in a call has it.
const WORD: &str = "zymurgy";

/// Which attempt lets it through: none that misplaces a number.
pub const CASE: usize = 9_999_999;

/// Where the word was seen, or the SID of its call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Witness(BTreeSet<&'static str>);

impl Witness {
    /// Looks for it.
    pub fn look(&mut self, evidence: &[Evidence]) {
        let call = call();
        let seen = evidence.iter().filter(|it| it.bytes.contains(WORD) || it.bytes.contains(&call));
        self.0.extend(seen.map(|it| it.place));
    }

    /// Whether it was seen there.
    pub fn was_in(&self, place: Place) -> bool {
        self.0.contains(place.name())
    }
}

fn call() -> String {
    format!("CA{CASE:032x}")
}

/// An ordinary call and an ordinary chat, in which a harmless word goes wherever a card number might: the business names it, the
/// caller and the agent say it, a payment has it as its reference, whoever takes over is told, and a call is placed with it whose
/// TwiML is too long to come along.
pub async fn witness(world: &World) -> anyhow::Result<()> {
    let mut attempt = Attempt::new(world, Way::Entered, 0, CASE);
    attempt.rings(json!({"callReference": WORD})).await?;
    let mut phone = world.connects(&attempt.call, &attempt.caller, &json!({})).await?;
    phone.says(&format!("My word is {WORD}."), [Reply::words(&format!("So it is {WORD}."))]).await?;
    payment::succeeds(&mut attempt, &mut phone).await?;
    let data = attempt.hands_over(&mut phone, &json!({"reason": WORD, "conversationSummary": WORD})).await?;
    attempt.asks_what_next(&data).await?;
    attempt.hangs_up(phone).await?;
    Chat::new(world).says(WORD, "user", Reply::words(&format!("You wrote {WORD}."))).await?;
    let order = json!({"phoneNumber": attempt.caller, "note": format!("{WORD} ").repeat(1_000)});
    world.operator_posts("/outboundCall", &json!({ "properties": order })).await?;
    let url = world.outside.document().context("no call was placed whose TwiML is to be asked for")?;
    let id = url.rsplit_once('/').map_or("", |(_, id)| id);
    world.twilio_posts(&format!("/outboundTwiml/{id}"), &[("CallSid", attempt.call.as_str())]).await.map(drop)
}

/// How many card numbers were written into what was caught in a place, and how many of them were found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Control {
    /// Written there.
    pub written: usize,
    /// Found there.
    pub found: usize,
}

/// Writes card numbers into something that was caught in a place, in each form that they can take there, and searches.
pub fn control(place: Place, sample: &Evidence, seed: u64) -> Control {
    let mut dice = Dice::new(seed);
    let mut control = Control { written: 0, found: 0 };
    for form in FORMS {
        let planted = [Planted::whole(&mut dice)];
        let mut evidence = form(&planted[0], sample, &mut dice);
        for it in &mut evidence {
            it.place = place.name();
        }
        control.written += 1;
        control.found += usize::from(search(&evidence, &planted) == [Found { place: place.name(), planted: 0 }]);
    }
    control
}

type Form = fn(&Planted, &Evidence, &mut Dice) -> Vec<Evidence>;

/// In numerals, as it was said, as JSON, percent-encoded, and over the tokens of many frames.
const FORMS: [Form; 5] = [
    |planted, sample, _| vec![inserted(sample, &planted.number)],
    |planted, sample, _| vec![inserted(sample, &planted.text())],
    |planted, sample, _| vec![inserted(sample, &json!({ "text": planted.text() }).to_string())],
    |planted, _, _| {
        let form = url::form_urlencoded::Serializer::new(String::new()).append_pair("Body", &planted.text()).finish();
        vec![Evidence { place: "", bytes: form }]
    },
    |planted, _, dice| {
        let pieces = dice.pieces(&planted.text());
        pieces
            .iter()
            .map(|it| Evidence { place: "", bytes: json!({"type": "text", "token": it}).to_string() })
            .collect()
    },
];

/// The sample with the text in its middle.
fn inserted(sample: &Evidence, text: &str) -> Evidence {
    let middle = sample.bytes.char_indices().nth(sample.bytes.chars().count() / 2).map_or(0, |(at, _)| at);
    let (before, after) = sample.bytes.split_at(middle);
    Evidence { place: "", bytes: format!("{before} {text} {after}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_number_is_found_in_anything_that_was_caught() {
        for (seed, bytes) in
            (0..200).zip(["", "2026-11-23T01:02:03Z INFO x", "{\"a\":[1,2]}", "a=b%20c&d=é", "ü 4242"].iter().cycle())
        {
            let sample = Evidence { place: "", bytes: (*bytes).to_owned() };
            assert_eq!(control(Place::Log, &sample, seed), Control { written: 5, found: 5 }, "{seed} {bytes}");
        }
    }
}
