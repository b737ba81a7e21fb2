//! The caller: does what the script says, when a person would do it.

use std::time::Duration;

use tokio::sync::{oneshot, watch};

use super::deployment::Deployment;
use super::pace::Pace;
use super::relay::{Command, Line};
use super::tape::{Entry, Event, Tape};
use super::twilio::{Field, Request, Twilio, Webhooks};

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
    /// Not the caller's doing: the server is told to stop, as in a roll-out.
    ServerStops,
}

/// The caller with everything that a caller needs.
#[derive(Debug)]
pub struct Caller<'a> {
    /// The phone.
    pub line: &'a mut Line,
    /// The keypad.
    pub twilio: &'a Twilio,
    /// What answers the phone.
    pub deployment: &'a Deployment,
    /// What leads there.
    pub webhooks: &'a Webhooks,
    /// What happened so far.
    pub tape: &'a Tape,
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

impl Caller<'_> {
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
            Step::IsLetGo => {
                let over = tokio::time::timeout(self.patience, &mut self.line.over).await;
                over.map(drop).map_err(|_| "the call to be ended".to_owned())
            }
            Step::HangsUp => self.command(Command::HangUp).await,
            Step::LosesSocket => {
                self.heard = self.tape.len();
                let _ = self.line.commands.send(Command::LoseSocket).await;
                let asked = |event: &Event| matches!(event, Event::Action { status, .. } if status == "failed");
                self.see(asked, "Twilio to ask what comes next").await
            }
            Step::ServerStops => {
                self.heard = self.tape.len();
                self.deployment.roll_out(self.webhooks, self.tape).await;
                Ok(())
            }
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

    async fn command(&mut self, command: Command) -> Result<(), String> {
        self.line.commands.send(command).await.map_err(|_| "to be still on the phone".to_owned())?;
        let over = tokio::time::timeout(self.patience, &mut self.line.over).await;
        over.map(drop).map_err(|_| "the call to end".to_owned())
    }

    async fn hear(&mut self, words: &str) -> Result<(), String> {
        let lenient = self.lenient;
        let fits = |event: &Event| match event {
            Event::AgentSaid { text, .. } => {
                let text = text.to_lowercase();
                lenient || words.split('|').any(|words| text.contains(&words.to_lowercase()))
            }
            _ => false,
        };
        self.see(fits, &format!("to hear “{words}”")).await
    }

    /// Waits for an entry of the tape behind the last one that was heard.
    async fn see(&mut self, fits: impl Fn(&Event) -> bool, what: &str) -> Result<(), String> {
        let from = self.heard;
        let found = self.tape.until(self.patience, |entries| {
            entries.iter().enumerate().skip(from).find_map(|(at, entry)| fits(&entry.event).then_some(at))
        });
        self.heard = found.await.ok_or(what)? + 1;
        Ok(())
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
            while self.twilio.capturing() != Some(field) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            // The agent says what to enter; who is not told so for long enters it all the same.
            let from = self.tape.len();
            let told = |entries: &[Entry]| entries[from..].iter().any(|entry| self.names(entry, field)).then_some(());
            let _ = self.tape.until(self.pace.real(LISTENS), told).await;
        };
        self.wait(asked, &format!("to be asked for the {}", field.words())).await
    }

    fn names(&self, entry: &Entry, field: Field) -> bool {
        matches!(&entry.event, Event::AgentSaid { text, .. } if self.lenient || text.contains(field.words()))
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
