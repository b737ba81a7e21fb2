//! A person at the terminal takes the caller's place.

use tokio::io::{AsyncBufReadExt, BufReader};

use super::caller::{CallerStep, ScriptedCaller};
use super::twilio::CaptureField;

const HELP: &str = "\
You are the caller. Type what you say and press Enter; type it while the agent speaks to talk over it.
A line of digits, # and * is pressed on the keypad:  4242424242424242#   1229#   731#
  /hang up   to hang up            (use test cards only: nothing leaves this computer except the model's input)
";

/// Reads the caller's input from stdin until the call has ended. Returns the entered digits, which are then searched
/// for.
pub(super) async fn run_caller(mut caller: ScriptedCaller<'_>) -> Vec<String> {
    super::print_line(HELP);
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let mut entered = Vec::new();
    loop {
        let line = tokio::select! {
            line = lines.next_line() => line,
            _ = &mut caller.phone.task => return entered,
        };
        // The end of the input ends the call.
        let Ok(Some(line)) = line else {
            let _ = caller.run_script(&[CallerStep::HangsUp]).await;
            return entered;
        };
        erase_typed_line();
        match TypedLine::parse(&line) {
            TypedLine::Nothing => {}
            TypedLine::Words(words) => caller.say(words).await,
            TypedLine::HangUp => {
                let _ = caller.run_script(&[CallerStep::HangsUp]).await;
                return entered;
            }
            TypedLine::Keys(keys) => {
                let field = caller.twilio.captured_field();
                caller.press_keys(&keys, field.map_or("nobody asked", CaptureField::label)).await;
                if field.is_some() {
                    entered.push(keys.chars().filter(char::is_ascii_digit).collect());
                }
            }
        }
    }
}

/// Erases the typed line, which may have digits. The transcript shows it with dots.
fn erase_typed_line() {
    use std::io::IsTerminal as _;
    if std::io::stdin().is_terminal() && std::io::stdout().is_terminal() {
        super::print_line("\x1b[1A\x1b[2K\x1b[1A");
    }
}

#[derive(Debug, PartialEq, Eq)]
enum TypedLine<'a> {
    Nothing,
    Words(&'a str),
    Keys(String),
    HangUp,
}

impl<'a> TypedLine<'a> {
    fn parse(line: &'a str) -> Self {
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
        assert_eq!(TypedLine::parse(" 4242 4242 # "), TypedLine::Keys("42424242#".to_owned()));
        assert_eq!(TypedLine::parse("*"), TypedLine::Keys("*".to_owned()));
        assert_eq!(TypedLine::parse("I pay 25 dollars"), TypedLine::Words("I pay 25 dollars"));
        assert_eq!(TypedLine::parse("/hang up"), TypedLine::HangUp);
        assert_eq!(TypedLine::parse("  "), TypedLine::Nothing);
    }
}
