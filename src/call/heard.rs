//! What Twilio tells of the caller: speech, keys, interruptions.

use std::time::{Duration, Instant};

use super::{Call, Item, Phase, words};
use crate::call::Action;
use crate::payment::Consent;
use crate::redact::{Heard, Private, Strictness, without_card_numbers};
use crate::relay::{Incoming, Info, Interrupt, Outgoing, Prompt};

/// After an interruption, how long the caller has to say something before the agent goes on with what it owes.
const INTERRUPT_HOLD: Duration = Duration::from_secs(3);

/// How long after its last key the answer to a statement is taken to be whole.
const ANSWER_PAUSE: Duration = Duration::from_secs(1);

/// So many keys of an answer to a statement are kept: more than one are none, whichever they are.
const MAX_ANSWER_KEYS: usize = 2;

/// How much later than the report of a payment's end a key, or a word, may arrive that belonged to it.
const LATE_KEYS: Duration = Duration::from_secs(3);

impl Call {
    pub(super) fn heard(&mut self, frame: Incoming) {
        if self.phase != Phase::Talking {
            return;
        }
        match frame {
            Incoming::Prompt(prompt) if prompt.last => self.prompted(&prompt),
            Incoming::Prompt(prompt) => {
                let words = !prompt.voice_prompt.reveal().trim().is_empty();
                if words && self.payments.is_open() && !self.is_statement_said() {
                    self.guidance.caller_spoke();
                }
                self.caller_speaks();
            }
            Incoming::Interrupt(interrupt) => self.interrupted(&interrupt),
            Incoming::Info(info) => self.informed(info),
            Incoming::Dtmf { digit } if self.is_statement_said() => {
                if self.is_key_an_answer() {
                    self.key_pressed(digit.reveal());
                }
            }
            // Any key may be a digit of the card: not even its coming is noted.
            Incoming::Dtmf { .. } if self.is_card_time() => {}
            Incoming::Dtmf { digit } => self.key_pressed(digit.reveal()),
            Incoming::Setup(_) | Incoming::Error { .. } | Incoming::Other => {}
        }
    }

    /// Whether what the caller keys or says may be a part of the card: while a payment is open, and shortly after, since the
    /// report that ends it may overtake the last key on its way here.
    fn is_card_time(&self) -> bool {
        self.payments.is_open() || self.payment_closed.is_some_and(|closed| self.now < closed + LATE_KEYS)
    }

    /// Whether a key that comes now may belong to what Twilio has just reported on.
    pub(super) fn is_shortly_after_report(&self) -> bool {
        [self.payment_closed, self.payment_reported].into_iter().flatten().any(|at| self.now < at + LATE_KEYS)
    }

    /// Takes keys as the answer to the statement that was said: one key alone is one. The history does not say which others came.
    fn keys_answer(&mut self, keys: &str) {
        let answer = answer_of_keys(keys);
        let shown = if answer == Consent::Unclear { "something else" } else { keys };
        let heard = self.shield.hear(&words::keyed(shown), Strictness::Cards);
        self.take_input(Item::Caller, heard);
        self.turn.rounds = 0;
        self.conclude(answer);
    }

    /// Outside payments keys are an input like any other, once it is whole. So they are where they answer a statement.
    fn key_pressed(&mut self, digit: &str) {
        self.watch.reset(self.now);
        let (mut keys, _) = self.keys.take().unwrap_or_else(|| (Private::default(), self.now));
        let answers = self.is_statement_said();
        if digit != "#" && !(answers && keys.reveal().len() >= MAX_ANSWER_KEYS) {
            keys = Private::new(keys.into_inner() + digit);
        }
        // An answer has no length that ends it: the key after it would answer the same question, asked again.
        let whole = digit == "#" || (!answers && keys.reveal().len() >= self.settings.keypad.max_digits);
        self.keys = Some((keys, self.now));
        if whole {
            self.keyed();
        }
    }

    /// When the keys that were pressed are taken as an input, if no other follows.
    pub(super) fn keys_due_at(&self) -> Option<Instant> {
        let pause = if self.is_statement_said() { ANSWER_PAUSE } else { self.settings.keypad.pause };
        self.keys.as_ref().map(|(_, last)| *last + pause)
    }

    /// Takes the keys that were pressed as an input after a pause. A payment that was opened meanwhile makes them void.
    pub(super) fn watch_keypad(&mut self) {
        let void = if self.is_statement_said() { !self.is_key_an_answer() } else { self.is_card_time() };
        if void {
            self.keys = None;
        } else if self.keys_due_at().is_some_and(|due| self.now >= due) {
            self.keyed();
        }
    }

    pub(super) fn keyed(&mut self) {
        let Some((keys, _)) = self.keys.take() else { return };
        if keys.reveal().is_empty() {
            return;
        }
        if self.is_statement_said() {
            self.keys_answer(keys.reveal());
        } else {
            let heard = self.shield.hear(&words::keyed(keys.reveal()), Strictness::Cards);
            self.input(Item::Caller, heard);
        }
    }

    fn prompted(&mut self, prompt: &Prompt) {
        let said = prompt.voice_prompt.reveal().trim();
        self.caller_speaks = None;
        self.watch.reset(self.now);
        if said.is_empty() {
            return;
        }
        let strictness = if self.is_card_time() { Strictness::Runs } else { Strictness::Cards };
        let heard = self.shield.hear(said, strictness);
        let digits_were_cut = heard.was_cut;
        let answers = self.is_statement_said();
        self.take_input(Item::Caller, heard);
        if digits_were_cut {
            self.note(words::DIGITS_WERE_SPOKEN);
        }
        self.turn.rounds = 0;
        if answers {
            let answer = self.judge(said);
            return self.conclude(answer);
        }
        self.turn.wake();
        if self.can_be_refused() && self.settings.texts.is_refusal(said) {
            self.cancel_refused();
        } else if self.payments.is_open() {
            self.guidance.caller_spoke();
        }
    }

    /// What the caller's words answer, with the keys that came before them: two answers that differ are none.
    fn judge(&mut self, said: &str) -> Consent {
        let answer = self.settings.texts.judge(said);
        match self.keys.take() {
            Some((keys, _)) if !keys.reveal().is_empty() && answer_of_keys(keys.reveal()) != answer => Consent::Unclear,
            _ => answer,
        }
    }

    /// The operator says something to the model. It stands above what a caller says, so it goes by another role.
    pub(super) fn instructed(&mut self, text: &str) {
        if self.phase == Phase::Talking && !text.trim().is_empty() {
            let heard = self.shield.hear(text.trim(), Strictness::Cards);
            self.input(Item::Developer, heard);
        }
    }

    /// Somebody else's turn: whatever the agent was saying is over. What stands of a card number that this input completes
    /// is cut before the model is asked again.
    fn input(&mut self, item: fn(String) -> Item, heard: Heard) {
        self.take_input(item, heard);
        self.turn.wake();
    }

    /// The same where the model does not have to answer: an answer to a statement is the server's to take.
    fn take_input(&mut self, item: fn(String) -> Item, heard: Heard) {
        self.stop_reply();
        self.speech.superseded(&mut self.history);
        for card in &heard.cards {
            self.turn.forget(card, &mut self.history);
            self.speech.forget(card);
        }
        self.stay();
        self.payments.attended(self.now);
        self.skip_repetition();
        self.turn.hold = None;
        self.turn.note(item(heard.text));
    }

    /// The reply is over, and of what is remembered of it only what the caller heard. If nothing is said now, the agent
    /// takes up again what it owes.
    fn interrupted(&mut self, interrupt: &Interrupt) {
        let unfinished = self.turn.response.is_some() || !self.turn.waiting.is_empty();
        self.stop_reply();
        let heard = without_card_numbers(interrupt.utterance_until_interrupt.reveal());
        self.speech.interrupted(&heard, &mut self.history, self.now);
        self.guidance.reply_cut(&mut self.history);
        self.statement_interrupted(&heard);
        self.watch.reset(self.now);
        self.stay();
        self.turn.owed |= unfinished;
        self.turn.hold = Some(self.now + INTERRUPT_HOLD);
        if !self.turn.owed {
            self.repeat_guidance(self.now + INTERRUPT_HOLD);
        }
    }

    fn informed(&mut self, info: Info) {
        match info {
            Info::AgentSpeaking(speaking) => self.speech.speaking(speaking, self.turn.response.is_none(), self.now),
            Info::ClientSpeaking(true) => self.caller_speaks(),
            Info::ClientSpeaking(false) => self.caller_speaks = None,
            Info::TokensPlayed(clause) => self.speech.played(clause.reveal(), &mut self.history),
            Info::Other => {}
        }
    }

    fn caller_speaks(&mut self) {
        self.caller_speaks = Some(self.now);
        self.watch.reset(self.now);
    }

    /// Stops the reply under way. A tool that is running runs on; those that were not begun never will be.
    pub(super) fn stop_reply(&mut self) {
        self.turn.spoke = false;
        self.turn.runs.iter_mut().for_each(|run| run.overtaken = true);
        if let Some(response) = self.turn.response.take() {
            self.history.drop_reasoning_since(response.unused_from);
            self.actions.push(Action::StopModel);
        }
        while let Some(call) = self.turn.waiting.pop_front() {
            self.turn.answer(call.call_id, words::not_run());
        }
        self.close_cycle();
    }

    pub(super) fn close_cycle(&mut self) {
        if self.speech.close() && self.parked.is_none() {
            self.actions.push(Action::Say(Outgoing::close()));
        }
    }

    /// The caller is there after all: a goodbye that was under way is taken back.
    fn stay(&mut self) {
        if self.farewell.take().is_some() {
            self.note(words::CALL_GOES_ON);
            self.turn.owed = true;
        }
    }
}

fn answer_of_keys(keys: &str) -> Consent {
    match keys {
        "1" => Consent::Yes,
        "2" => Consent::No,
        _ => Consent::Unclear,
    }
}
