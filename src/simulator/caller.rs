//! The caller: does what the script says, when a person would do it.

use std::time::Duration;

use serde_json::json;
use tokio::sync::{oneshot, watch};

use super::deployment::Deployment;
use super::ledger_file::Fault;
use super::operator;
use super::pace::Pace;
use super::relay::{Command, Line, Relay};
use super::tape::{Entry, Event, Tape};
use super::twilio::{Field, Request, Twilio};

/// One line of a script.
#[derive(Debug, Clone, Copy)]
pub enum Step {
    /// Waits until the agent has said something with one of these (separated by `|`) in it, since the last step.
    Hears(&'static str),
    /// Waits until the agent is silent, and says this.
    Says(&'static str),
    /// Speaks over the agent once this much was heard of its utterance.
    SpeaksOver {
        /// What the agent has to have said.
        after: &'static str,
        /// What the caller says.
        says: &'static str,
    },
    /// Waits to be asked for a field, enters it, and presses hash.
    Enters(Field, &'static str),
    /// Waits to be asked for a field, and presses just these keys.
    Presses(Field, &'static str),
    /// Waits until Twilio has given up on an entry.
    RunsOutOfTime,
    /// Waits until Twilio was asked for this, and has answered.
    Sees(Request),
    /// Waits until Twilio has opened a payment session, whether the server knows of it or not.
    SeesSession,
    /// Does nothing for so many seconds of the call.
    Waits(u64),
    /// Waits until the call is over.
    IsLetGo,
    /// Hangs up.
    HangsUp,
    /// The socket between Twilio and the server breaks.
    LosesSocket,
    /// Calls once more, after the call that is over.
    Redials,
    /// Goes on in one of two ways, and no further than that.
    Forks {
        /// If the agent says something with one of these (separated by `|`) in it, since the last step …
        hears: &'static str,
        /// … then like this;
        then: &'static [Step],
        /// as soon as Twilio asks for the card number like this.
        otherwise: &'static [Step],
    },
    /// Not the caller's doing: the server is told to stop, as in a roll-out.
    ServerStops,
    /// Not the caller's doing: the server dies, and another one starts on its ledger.
    ServerDies,
    /// Not the caller's doing: the ledger cannot be written from now on.
    LedgerFails(Fault),
    /// Not the caller's doing: the ledger can be written again.
    LedgerHeals,
    /// Not the caller's doing: Twilio has delivered a result, and the server has answered.
    SeesResult,
    /// Not the caller's doing: an operator wants the caller called about this order, and is answered with this status.
    OperatorOrders(&'static str, u16),
}

impl Step {
    /// What is pressed on the keypad.
    pub fn keys(&self) -> Vec<&'static str> {
        match self {
            Self::Enters(_, keys) | Self::Presses(_, keys) => vec![keys],
            Self::Forks { then, otherwise, .. } => then.iter().chain(*otherwise).flat_map(Self::keys).collect(),
            _ => Vec::new(),
        }
    }
}

/// The caller with everything that a caller needs.
#[derive(Debug)]
pub struct Caller<'a> {
    /// What carries the call.
    pub relay: Relay,
    /// The phone.
    pub line: Line,
    /// The keypad.
    pub twilio: Twilio,
    /// What answers the phone.
    pub deployment: &'a Deployment,
    /// What happened so far.
    pub tape: Tape,
    /// How fast time passes.
    pub pace: Pace,
    /// How long a step may take, on the real clock.
    pub patience: Duration,
    /// Whether any words will do: a real model has its own.
    pub lenient: bool,
    /// Up to where the tape was heard.
    pub heard: usize,
}

/// How long the agent has to be silent until the caller takes it for a pause.
const PAUSE: Duration = Duration::from_millis(700);
/// How long the caller listens for what to enter.
const LISTENS: Duration = Duration::from_secs(8);
/// From one key to the next.
const KEY: Duration = Duration::from_millis(260);

impl<'a> Caller<'a> {
    /// A caller whose phone rings at the server.
    pub fn begin(relay: Relay, deployment: &'a Deployment, patience: Duration, lenient: bool) -> Self {
        let (line, twilio, tape, pace) = (relay.clone().ring(), relay.twilio.clone(), relay.tape.clone(), relay.pace);
        Self { relay, line, twilio, deployment, tape, pace, patience, lenient, heard: 0 }
    }

    /// Goes through a script. An error says what the caller waited for in vain.
    pub async fn follow(&mut self, script: &[Step]) -> Result<(), String> {
        for step in script {
            self.take(*step).await?;
        }
        Ok(())
    }

    async fn take(&mut self, step: Step) -> Result<(), String> {
        match step {
            Step::Hears(words) => self.hear(words).await,
            Step::Says(words) => {
                self.wait_for_silence().await?;
                self.say(words).await;
                Ok(())
            }
            Step::SpeaksOver { after, says } => {
                self.heard = self.tape.len();
                let (what, says) = (format!("to speak over “{after}”"), says.to_owned());
                let after = if self.lenient { String::new() } else { after.to_owned() };
                let _ = self.line.commands.send(Command::SayOver { after, says: says.clone() }).await;
                self.see(|event| matches!(event, Event::CallerSaid { text, .. } if *text == says), &what).await
            }
            Step::Enters(field, digits) => {
                self.wait_to_be_asked(field).await?;
                self.press(&format!("{digits}#"), field.words()).await;
                Ok(())
            }
            Step::Presses(field, keys) => {
                self.wait_to_be_asked(field).await?;
                self.press(keys, field.words()).await;
                Ok(())
            }
            Step::RunsOutOfTime => {
                self.see(|event| matches!(event, Event::Entered { .. }), "Twilio to give up on the entry").await
            }
            Step::Sees(request) => {
                let asked = |event: &Event| matches!(event, Event::Requested { request: it, .. } if *it == request);
                self.see(asked, &format!("Twilio to be asked for: {request}")).await
            }
            Step::SeesSession => {
                self.see(|event| matches!(event, Event::Created { .. }), "a payment session to be opened").await
            }
            Step::Waits(seconds) => {
                self.pace.pass(Duration::from_secs(seconds)).await;
                Ok(())
            }
            Step::IsLetGo => self.wait_for_the_end().await,
            Step::HangsUp => self.command(Command::HangUp).await,
            Step::LosesSocket => {
                self.heard = self.tape.len();
                let _ = self.line.commands.send(Command::LoseSocket).await;
                let asked = |event: &Event| matches!(event, Event::Action { status, .. } if status == "failed");
                self.see(asked, "Twilio to ask what comes next").await
            }
            Step::Redials => {
                self.wait_for_the_end().await?;
                self.heard = self.tape.len();
                let relay = self.relay.another_call(self.relay.person);
                *self = Self::begin(relay, self.deployment, self.patience, self.lenient);
                Ok(())
            }
            Step::Forks { hears, then, otherwise } => {
                let said = self.until(|event| says(event, hears));
                let asked = self.wait_for_field(Field::CardNumber);
                let forks = async {
                    tokio::select! { _ = said => then, () = asked => otherwise }
                };
                let way = self.wait(forks, "to hear whether it goes on").await?;
                Box::pin(self.follow(way)).await
            }
            _ => self.happens(step).await,
        }
    }

    /// What is not the caller's doing.
    async fn happens(&mut self, step: Step) -> Result<(), String> {
        match step {
            Step::ServerStops => {
                self.heard = self.tape.len();
                self.deployment.roll_out(&self.relay.webhooks, &self.tape).await;
                Ok(())
            }
            Step::ServerDies => {
                self.heard = self.tape.len();
                self.deployment.replace(&self.tape).await.map_err(|error| format!("for another server: {error:#}"))
            }
            Step::LedgerFails(fault) => self.ledger_fails(Some(fault)).await,
            Step::LedgerHeals => self.ledger_fails(None).await,
            Step::SeesResult => {
                let delivered = |event: &Event| matches!(event, Event::Callback { terminal: Some(_), .. });
                self.see(delivered, "the result to be delivered").await
            }
            Step::OperatorOrders(reference, wanted) => {
                let properties = json!({"phoneNumber": self.relay.person, "callReference": reference});
                let order = json!({"properties": properties});
                let (status, _) = operator::order(&self.deployment.proxy, "/outboundCall", &order).await?;
                if status != wanted {
                    self.tape.violation(format!("an order to call was answered {status}, not {wanted}"));
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Says something at once.
    pub async fn say(&mut self, words: &str) {
        self.heard = self.tape.len();
        let _ = self.line.commands.send(Command::Say(words.to_owned())).await;
    }

    /// Presses keys one after the other.
    pub async fn press(&mut self, keys: &str, what: &str) {
        self.heard = self.tape.len();
        self.tape.write(Event::Keys { dots: dots(keys), what: what.to_owned() });
        for key in keys.chars() {
            let _ = self.line.commands.send(Command::Key(key)).await;
            self.pace.pass(KEY).await;
        }
        let (rests, arrived) = oneshot::channel();
        let _ = self.line.commands.send(Command::Rest(rests)).await;
        // On a call that is over, nobody tells.
        let _ = arrived.await;
    }

    async fn wait_for_the_end(&mut self) -> Result<(), String> {
        if self.line.over.is_finished() {
            return Ok(());
        }
        let over = tokio::time::timeout(self.patience, &mut self.line.over).await;
        over.map(drop).map_err(|_| "the call to be ended".to_owned())
    }

    async fn command(&mut self, command: Command) -> Result<(), String> {
        self.line.commands.send(command).await.map_err(|_| "to be still on the phone".to_owned())?;
        let over = tokio::time::timeout(self.patience, &mut self.line.over).await;
        over.map(drop).map_err(|_| "the call to end".to_owned())
    }

    async fn ledger_fails(&mut self, fault: Option<Fault>) -> Result<(), String> {
        self.deployment.ledger_fails(fault, &self.tape).await.map_err(|error| format!("for the ledger: {error:#}"))
    }

    async fn hear(&mut self, words: &str) -> Result<(), String> {
        let lenient = self.lenient;
        let fits = |event: &Event| if lenient { says(event, "") } else { says(event, words) };
        self.see(fits, &format!("to hear “{words}”")).await
    }

    /// Waits for an entry of the tape behind the last one that was heard.
    async fn see(&mut self, fits: impl Fn(&Event) -> bool, what: &str) -> Result<(), String> {
        self.heard = self.until(fits).await.ok_or(what)? + 1;
        Ok(())
    }

    /// Where the tape has such an entry of this call, behind the last one that was heard; `None` if that takes too long.
    async fn until(&self, fits: impl Fn(&Event) -> bool) -> Option<usize> {
        let (from, line) = (self.heard, self.tape.line());
        let found = self.tape.until(self.patience, |entries| {
            let fits = |entry: &Entry| entry.line == line && fits(&entry.event);
            entries.iter().enumerate().skip(from).find_map(|(at, entry)| fits(entry).then_some(at))
        });
        found.await
    }

    async fn wait_to_be_asked(&mut self, field: Field) -> Result<(), String> {
        loop {
            self.wait_for_capture(field).await?;
            self.wait_for_silence().await?;
            // It may have timed out meanwhile: then the agent asks again.
            if self.twilio.capturing() == Some(field) {
                return Ok(());
            }
        }
    }

    async fn wait_for_capture(&self, field: Field) -> Result<(), String> {
        let asked = async {
            self.wait_for_field(field).await;
            // The agent says what to enter; who is not told so for long enters it all the same.
            let from = self.tape.len();
            let told = |entries: &[Entry]| entries[from..].iter().any(|entry| self.names(entry, field)).then_some(());
            let _ = self.tape.until(self.pace.real(LISTENS), told).await;
        };
        self.wait(asked, &format!("to be asked for the {}", field.words())).await
    }

    async fn wait_for_field(&self, field: Field) {
        while self.twilio.capturing() != Some(field) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    fn names(&self, entry: &Entry, field: Field) -> bool {
        entry.line == self.tape.line()
            && matches!(&entry.event, Event::AgentSaid { text, .. } if self.lenient || text.contains(field.words()))
    }

    async fn wait_for_silence(&mut self) -> Result<(), String> {
        let mut voice = self.line.voice.clone();
        // A real model takes its time between two sentences, at any pace.
        let pause = if self.lenient { Duration::from_secs(2) } else { self.pace.real(PAUSE) };
        let silence = async {
            loop {
                voice.wait_for(|voice| voice.connected && !voice.speaking).await?;
                let speaks = voice.wait_for(|voice| voice.speaking);
                if tokio::time::timeout(pause, speaks).await.is_err() {
                    return Ok::<(), watch::error::RecvError>(());
                }
            }
        };
        self.wait(silence, "the agent to stop talking").await?.map_err(|_| "to be still on the phone".to_owned())
    }

    async fn wait<T>(&self, it: impl Future<Output = T>, what: &str) -> Result<T, String> {
        tokio::time::timeout(self.patience, it).await.map_err(|_| what.to_owned())
    }
}

/// Whether the agent says something with one of these words (separated by `|`) in it.
fn says(event: &Event, words: &str) -> bool {
    let Event::AgentSaid { text, .. } = event else { return false };
    let text = text.to_lowercase();
    words.split('|').any(|words| text.contains(&words.to_lowercase()))
}

/// Keys as dots: nobody who watches sees a digit.
pub fn dots(keys: &str) -> String {
    let digits = keys.chars().filter(char::is_ascii_digit).count();
    let mut dots = String::new();
    for (at, key) in keys.chars().enumerate() {
        if at > 0 && (at % 4 == 0 && digits > 4 || key == '#') {
            dots.push(' ');
        }
        dots.push(if key.is_ascii_digit() { '•' } else { key });
    }
    dots
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_shown_as_dots() {
        assert_eq!(dots("4242424242424242#"), "•••• •••• •••• •••• #");
        assert_eq!(dots("123#"), "••• #");
        assert_eq!(dots("42*"), "••*");
    }
}
