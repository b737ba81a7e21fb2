//! Misplaces one card number, and lets the conversation go on so that whatever was kept shows.

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use super::catch::Place;
use super::model::Reply;
use super::payment;
use super::phone::Phone;
use super::way::Way;
use super::world::World;
use crate::redact::CUT;
use crate::simulator::planted::{Dice, Planted};

/// One card number on its way.
#[derive(Debug)]
pub struct Attempt<'a> {
    /// Where it is put.
    pub world: &'a World,
    /// How.
    pub way: Way,
    /// The SID of the call.
    pub call: String,
    /// Who calls: every call comes from somebody else.
    pub caller: String,
    /// The number.
    pub planted: Planted,
    /// What else must not be found: expiry date, security code, postal code, payment token.
    pub secrets: Vec<Planted>,
    dice: Dice,
}

impl<'a> Attempt<'a> {
    /// The attempt number `case` of a proof with this seed.
    pub fn new(world: &'a World, way: Way, seed: u64, case: usize) -> Self {
        let mut dice = dice(seed, case);
        let planted = planted(way, &mut dice);
        let (call, caller) = (format!("CA{case:032x}"), format!("+1555{case:07}"));
        Self { world, way, call, caller, planted, secrets: Vec::new(), dice }
    }

    /// Tells where something of a number was left standing that a search for the whole of it would not find. An error means
    /// that the attempt did not go as it has to for it to say anything.
    pub async fn play(&mut self) -> anyhow::Result<Option<Place>> {
        match self.way {
            Way::OutboundCall => self.orders().await?,
            Way::OperatorsMistake => self.mistakes().await?,
            Way::Chat | Way::ChatInParts | Way::ModelOutputInAChat => self.chats().await?,
            _ => return self.calls().await,
        }
        Ok(None)
    }

    /// A number of so many digits; the first one is not 0.
    pub fn digits(&mut self, count: usize) -> String {
        let first = 1 + self.dice.below(9);
        (1..count).fold(first.to_string(), |all, _| all + &self.dice.below(10).to_string())
    }

    async fn calls(&mut self) -> anyhow::Result<Option<Place>> {
        let world = self.world;
        let (number, text) = (self.planted.number.clone(), self.planted.parts[0].clone());
        let parameters = match self.way {
            Way::CustomParameter => json!({"note": text, number.as_str(): "x", "list": [number]}),
            _ => json!({}),
        };
        let knows = match self.way {
            Way::BusinessAnswer => json!({"note": text, number.as_str(): "x"}),
            _ => json!({}),
        };
        self.rings(knows).await?;
        let mut phone = world.connects(&self.call, &self.caller, &parameters).await?;
        let left = self.misplaces(&mut phone).await?;
        self.hangs_up(phone).await?;
        Ok(left)
    }

    /// The call comes in, and the business is asked about it.
    pub async fn rings(&self, business_knows: Value) -> anyhow::Result<()> {
        self.world.outside.business_knows(business_knows);
        let form = [("CallSid", self.call.as_str()), ("From", &self.caller), ("To", "+15550100002")];
        let twiml = self.world.twilio_posts("/connectConversationRelay", &form).await?;
        ensure!(twiml.contains("<ConversationRelay"), "the call was not connected to the relay");
        Ok(())
    }

    /// The call is over, and everything of it has come out.
    pub async fn hangs_up(&self, phone: Phone<'_>) -> anyhow::Result<()> {
        let over = [("CallSid", self.call.as_str()), ("CallStatus", "completed")];
        self.world.twilio_posts("/connectAction", &over).await?;
        self.world.has_calls(0).await?;
        phone.hears_the_rest().await;
        Ok(())
    }

    /// It did not go as it has to: the next one begins without its call.
    pub async fn is_given_up(&self) {
        let over = [("CallSid", self.call.as_str()), ("CallStatus", "completed")];
        // If this is in vain, the next one says so.
        let _ = self.world.twilio_posts("/connectAction", &over).await;
        let _ = self.world.has_calls(0).await;
    }

    /// What happens in the call.
    async fn misplaces(&mut self, phone: &mut Phone<'_>) -> anyhow::Result<Option<Place>> {
        let (number, text) = (self.planted.number.clone(), self.planted.parts[0].clone());
        match self.way {
            Way::Entered => payment::succeeds(self, phone).await?,
            Way::SpokenDuringACapture | Way::KeyedDuringACapture | Way::Callback => {
                payment::is_disturbed(self, phone).await?;
            }
            Way::Spoken => {
                phone.sends(&json!({"type": "prompt", "voicePrompt": text, "last": false})).await?;
                phone.says(&text, []).await?;
                is_cut(&phone.goes_on().await?)?;
            }
            Way::SpokenInParts => {
                for part in &self.planted.parts {
                    phone.says(part, []).await?;
                }
                let shown = phone.goes_on().await?;
                is_cut(&shown)?;
                let stands = |part: &String| shown.contains(&Value::from(part.as_str()).to_string());
                return Ok(self.planted.parts.iter().any(stands).then_some(Place::Model));
            }
            Way::SpokenOverTheAgent => {
                phone.says("Hello", []).await?;
                phone.sends(&json!({"type": "info", "name": "tokensPlayed", "value": text})).await?;
                let interrupt =
                    json!({"type": "interrupt", "utteranceUntilInterrupt": text, "durationUntilInterruptMs": 9});
                phone.sends(&interrupt).await?;
                phone.goes_on().await?;
            }
            Way::KeyedOutsideACapture => {
                phone.presses(&format!("{number}#")).await?;
                phone.hears().await?;
                is_cut(&phone.goes_on().await?)?;
            }
            Way::KeyedInParts => {
                let (first, second) = number.split_at(number.len() / 2);
                for part in [first, second] {
                    phone.presses(&format!("{part}#")).await?;
                    phone.hears().await?;
                }
                let shown = phone.goes_on().await?;
                is_cut(&shown)?;
                return Ok(shown.contains(first).then_some(Place::Model));
            }
            Way::CustomParameter | Way::BusinessAnswer => is_cut(&phone.goes_on().await?)?,
            Way::ModelOutput => {
                let tokens = self.dice.pieces(&format!("You said {text} to me."));
                phone.says("What did I say?", [Reply::Says(tokens)]).await?;
                is_cut(&phone.goes_on().await?)?;
            }
            Way::HandOff => self.hands_off(phone, &text).await?,
            Way::BadFrame => {
                let frames =
                    [json!({"type": text, "a": number}), json!({"type": "error", "description": text}), json!(text)];
                for frame in &frames {
                    phone.sends(frame).await?;
                }
                phone.sends(&json!({"type": "prompt", "voicePrompt": [text]})).await?;
                phone.goes_on().await?;
            }
            _ => self.in_a_tool(phone).await?,
        }
        Ok(None)
    }

    /// The model puts it into the arguments of a tool.
    async fn in_a_tool(&self, phone: &mut Phone<'_>) -> anyhow::Result<()> {
        let (number, text) = (self.planted.number.as_str(), self.planted.parts[0].as_str());
        let calls = match self.way {
            Way::Message => vec![("send-sms", json!({"to": self.caller, "message": text}).to_string())],
            Way::Tones => {
                let tones: String = number.chars().flat_map(|digit| [digit, 'w']).collect();
                [tones.as_str(), number].map(|it| ("send-dtmf", json!({"digits": it}).to_string())).into()
            }
            Way::Amount => {
                vec![("start-capture", format!(r#"{{"chargeAmount": {number}, "callSid": "{number}"}}"#))]
            }
            _ => vec![(number, json!({number: number}).to_string())],
        };
        for (name, arguments) in calls {
            phone.says("Do it.", [Reply::Calls(name.to_owned(), arguments)]).await?;
            let shown = phone.goes_on().await?;
            // An amount that is no amount is refused by what it is, and may be cut or not.
            ensure!(self.way == Way::Amount || is_cut(&shown).is_ok(), "nothing was cut from the call of a tool");
        }
        Ok(())
    }

    /// The model writes it down for whoever takes over, and so does a stranger.
    async fn hands_off(&self, phone: &mut Phone<'_>, text: &str) -> anyhow::Result<()> {
        let arguments = json!({"reason": text, "conversationSummary": text});
        let data = self.hands_over(phone, &arguments).await?;
        ensure!(data.contains(CUT), "nothing was cut from the hand-off data");
        for data in [data, text.to_owned(), json!({"summary": [text]}).to_string()] {
            self.asks_what_next(&data).await?;
        }
        Ok(())
    }

    /// The model hands the call over; tells the hand-off data.
    pub async fn hands_over(&self, phone: &mut Phone<'_>, arguments: &Value) -> anyhow::Result<String> {
        let replies = [Reply::calls("live-agent-handoff", arguments), Reply::words("One moment.")];
        phone.says("I want a person.", replies).await?;
        phone.sends(&json!({"type": "info", "name": "agentSpeaking", "value": "on"})).await?;
        phone.sends(&json!({"type": "info", "name": "agentSpeaking", "value": "off"})).await?;
        phone.is_handed_off().await
    }

    /// Twilio asks what to do with the call, whose session ended with this hand-off data.
    pub async fn asks_what_next(&self, data: &str) -> anyhow::Result<()> {
        let form = [("CallSid", self.call.as_str()), ("CallStatus", "in-progress"), ("HandoffData", data)];
        self.world.twilio_posts("/connectAction", &form).await.map(drop)
    }

    async fn orders(&self) -> anyhow::Result<()> {
        let (number, text) = (&self.planted.number, &self.planted.parts[0]);
        let nested = json!({"note": {"deep": [{"note": text}]}});
        for mut properties in [json!({"note": text}), json!({number.as_str(): 1}), nested, json!({"n": number})] {
            properties["phoneNumber"] = json!(self.caller);
            let answer = self.world.operator_posts("/outboundCall", &json!({"properties": properties})).await?;
            ensure!(answer.contains("card"), "an order with a card number was not refused for it");
        }
        let order = json!({"properties": {"phoneNumber": self.caller, "callReference": self.call}});
        let answer = self.world.operator_posts("/outboundCall", &order).await?;
        ensure!(answer.contains("callSid"), "an order without a card number was refused");
        Ok(())
    }

    async fn mistakes(&self) -> anyhow::Result<()> {
        let (number, text) = (&self.planted.number, &self.planted.parts[0]);
        for body in [json!({text.as_str(): 1}), json!({"message": "Hi", "role": text}), json!({"properties": number})] {
            for path in ["/outboundCall", "/conversation", "/updateResponseService"] {
                let answer = self.world.operator_posts(path, &body).await?;
                ensure!(answer.contains("error"), "a mistake of the operator was taken");
            }
        }
        Ok(())
    }

    async fn chats(&mut self) -> anyhow::Result<()> {
        let mut chat = Chat { world: self.world, session: Value::Null };
        if self.way == Way::ModelOutputInAChat {
            let text = format!("You said {} to me.", self.planted.parts[0]);
            chat.says("What did I say?", "user", Reply::Says(self.dice.pieces(&text))).await?;
            let hand_off = Reply::calls("live-agent-handoff", &json!({"summary": text}));
            chat.says("I want a person.", "user", hand_off).await?;
        } else {
            for part in &self.planted.parts {
                chat.says(part, self.dice.pick(&["user", "system"]), Reply::words("Mm-hm.")).await?;
            }
        }
        chat.says("And now?", "user", Reply::words("Well.")).await?;
        is_cut(&self.world.model.shown())
    }
}

/// A conversation in writing.
#[derive(Debug)]
pub struct Chat<'a> {
    world: &'a World,
    session: Value,
}

impl<'a> Chat<'a> {
    /// One in which nothing was said yet.
    pub fn new(world: &'a World) -> Self {
        Self { world, session: Value::Null }
    }

    /// Somebody writes something, and the model does this.
    pub async fn says(&mut self, message: &str, role: &str, reply: Reply) -> anyhow::Result<()> {
        self.world.model.will([reply]);
        let said = match &self.session {
            Value::Null => json!({"message": message, "role": role}),
            session => json!({"message": message, "role": role, "sessionId": session}),
        };
        let answer = self.world.operator_posts("/conversation", &said).await?;
        let answer = answer.split_once('{').map_or("", |(_, rest)| rest);
        let answer: Value = serde_json::from_str(&format!("{{{answer}")).context("a chat was not answered")?;
        self.session = answer["sessionId"].clone();
        Ok(())
    }
}

/// Something was there, and it was cut: else the attempt shows nothing.
fn is_cut(shown: &str) -> anyhow::Result<()> {
    ensure!(shown.contains(CUT), "nothing was cut from what the model is shown");
    Ok(())
}

/// The chance of an attempt: the same for the same seed and number, whatever the others are.
pub fn dice(seed: u64, case: usize) -> Dice {
    Dice::of_case(seed, case)
}

/// The number that is put somewhere in this way.
fn planted(way: Way, dice: &mut Dice) -> Planted {
    if way.is_in_parts() {
        Planted::in_parts(dice)
    } else if way.is_typed() {
        Planted::typed(dice)
    } else {
        Planted::whole(dice)
    }
}
