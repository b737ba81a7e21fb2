//! A person at the keyboard plays the caller.

use tokio::io::{AsyncBufReadExt, BufReader};

use super::caller::{Caller, Step};
use super::twilio::Field;

const HELP: &str = "\
You are the caller. Type what you say and press Enter; type it while the agent speaks to talk over it.
A line of digits, # and * is pressed on the keypad:  4242424242424242#   1229#   731#
  /hang up   to hang up            (use test cards only: nothing leaves this computer except the model's input)
";

/// Lets a person talk until the call is over. Answers with the keys that were pressed, to be searched for afterwards.
pub async fn converse(mut caller: Caller<'_>) -> Vec<String> {
    super::show(HELP);
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let mut entered = Vec::new();
    loop {
        let line = tokio::select! {
            line = lines.next_line() => line,
            _ = &mut caller.line.over => return entered,
        };
        // The end of the input is the end of the call.
        let Ok(Some(line)) = line else {
            let _ = caller.follow(&[Step::HangsUp]).await;
            return entered;
        };
        forget_the_typed_line();
        match Typed::read(&line) {
            Typed::Nothing => {}
            Typed::Words(words) => caller.say(words).await,
            Typed::HangUp => {
                let _ = caller.follow(&[Step::HangsUp]).await;
                return entered;
            }
            Typed::Keys(keys) => {
                let field = caller.twilio.capturing();
                caller.press(&keys, field.map_or("nobody asked", Field::words)).await;
                if field.is_some() {
                    entered.push(keys.chars().filter(char::is_ascii_digit).collect());
                }
            }
        }
    }
}

/// The terminal has shown what was typed, digits too: what is shown of it from now on is the call's own line.
fn forget_the_typed_line() {
    use std::io::IsTerminal as _;
    if std::io::stdin().is_terminal() && std::io::stdout().is_terminal() {
        super::show("\x1b[1A\x1b[2K\x1b[1A");
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Typed<'a> {
    Nothing,
    Words(&'a str),
    Keys(String),
    HangUp,
}

impl<'a> Typed<'a> {
    fn read(line: &'a str) -> Self {
        let line = line.trim();
        let keys: String = line.chars().filter(|c| !c.is_whitespace()).collect();
        match line {
            "" => Self::Nothing,
            "/hang up" | "/hangup" | "/quit" => Self::HangUp,
            _ if keys.chars().all(|c| c.is_ascii_digit() || c == '#' || c == '*') => Self::Keys(keys),
            words => Self::Words(words),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_keys_and_everything_else_is_said() {
        assert_eq!(Typed::read(" 4242 4242 # "), Typed::Keys("42424242#".to_owned()));
        assert_eq!(Typed::read("*"), Typed::Keys("*".to_owned()));
        assert_eq!(Typed::read("I pay 25 dollars"), Typed::Words("I pay 25 dollars"));
        assert_eq!(Typed::read("/hang up"), Typed::HangUp);
        assert_eq!(Typed::read("  "), Typed::Nothing);
    }
}
