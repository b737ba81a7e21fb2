//! The phase of a call: live, closing after a goodbye, parked without a socket, or ended.
//!
//! A closing call says its goodbye, waits until the caller has heard it, cancels an open payment, and sends `end` as the
//! last frame. A parked call waits for a new WebSocket, and ends like a hang-up without one.

use std::time::{Duration, Instant};

use super::{Action, AgentSpeech, Call, CallEnding, prompts};
use crate::relay::OutgoingFrame;

/// How long Twilio may take to close the socket after `end`.
const SOCKET_CLOSE_LIMIT: Duration = Duration::from_secs(30);

/// The phase of a call.
#[derive(Debug)]
pub(super) enum Phase {
    /// The caller and the agent talk.
    Live,
    /// The call ends once the caller has heard the goodbye.
    Closing(Closing),
    /// The WebSocket was lost; a new one resumes the call, and its closing.
    Parked { since: Instant, closing: Option<Closing> },
    /// `end` was sent; nothing more is said.
    EndSent { at: Instant },
    /// The call has ended. It closes once the running tools have finished. `was_lost`: no new WebSocket came.
    Ended { is_closed: bool, was_lost: bool },
}

/// A pending end of the call. The caller cancels it by saying more than words of courtesy.
#[derive(Debug)]
pub(super) struct Closing {
    /// What is reported of the end. Its hand-off data goes to the `<Connect>` action.
    ending: CallEnding,
    goodbye: Goodbye,
    /// Nothing cancels it: the model is down, so that nobody could continue the call.
    is_final: bool,
}

/// The last words of a call: a goodbye, or that a person takes over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Goodbye {
    /// It is not said yet.
    Owed,
    /// It was sent to the caller.
    Sent,
    /// It was interrupted, and nothing is known yet of what the caller says.
    Cut,
}

impl Phase {
    /// Whether the caller and the agent talk: the socket is open and no end is pending.
    pub(super) fn is_live(&self) -> bool {
        matches!(self, Self::Live)
    }

    /// Whether the call goes on: `end` was not sent, and nobody hung up.
    pub(super) fn is_in_progress(&self) -> bool {
        matches!(self, Self::Live | Self::Closing(_) | Self::Parked { .. })
    }

    /// Whether the call has no socket.
    pub(super) fn is_parked(&self) -> bool {
        matches!(self, Self::Parked { .. })
    }

    /// Whether the call has ended.
    pub(super) fn is_ended(&self) -> bool {
        matches!(self, Self::Ended { .. })
    }

    /// Whether [`Action::Close`] was returned.
    pub(super) fn is_closed(&self) -> bool {
        matches!(self, Self::Ended { is_closed: true, .. })
    }

    /// Whether the call has ended because no new WebSocket came: perhaps one came to another server.
    pub(super) fn was_lost(&self) -> bool {
        matches!(self, Self::Ended { was_lost: true, .. })
    }

    /// Whether an end of the call is pending.
    pub(super) fn is_closing(&self) -> bool {
        self.closing().is_some()
    }

    /// Whether an end of the call is pending and its goodbye was sent.
    pub(super) fn is_goodbye_sent(&self) -> bool {
        self.goodbye().is_some_and(|goodbye| goodbye != Goodbye::Owed)
    }

    fn goodbye(&self) -> Option<Goodbye> {
        self.closing().map(|closing| closing.goodbye)
    }

    /// When the phase ends by itself: a parked call after `resume_timeout`, a call whose socket stays open after `end`.
    pub(super) fn time_limit(&self, resume_timeout: Duration) -> Option<Instant> {
        match self {
            Self::Parked { since, .. } => Some(*since + resume_timeout),
            Self::EndSent { at } => Some(*at + SOCKET_CLOSE_LIMIT),
            Self::Live | Self::Closing(_) | Self::Ended { .. } => None,
        }
    }

    /// Begins to close a call that is in progress.
    fn close(&mut self, begun: Closing) {
        match self {
            Self::Live | Self::Closing(_) => *self = Self::Closing(begun),
            Self::Parked { closing, .. } => *closing = Some(begun),
            Self::EndSent { .. } | Self::Ended { .. } => {}
        }
    }

    /// Cancels a pending end; returns whether there was one.
    fn cancel_closing(&mut self) -> bool {
        if self.closing().is_some_and(|closing| closing.is_final) {
            return false;
        }
        match self {
            Self::Closing(_) => {
                *self = Self::Live;
                true
            }
            Self::Parked { closing, .. } => closing.take().is_some(),
            Self::Live | Self::EndSent { .. } | Self::Ended { .. } => false,
        }
    }

    /// Finishes the closing of a call that has a socket: `end` is sent with it.
    fn finish_closing(&mut self, now: Instant) -> Option<Closing> {
        match std::mem::replace(self, Self::EndSent { at: now }) {
            Self::Closing(closing) => Some(closing),
            other => {
                *self = other;
                None
            }
        }
    }

    /// Parks a call that is in progress.
    fn park(&mut self, now: Instant) {
        let closing = match std::mem::replace(self, Self::Live) {
            Self::Live => None,
            Self::Closing(closing) => Some(closing),
            other => return *self = other,
        };
        *self = Self::Parked { since: now, closing };
    }

    /// Resumes a parked call; returns whether it was parked.
    fn resume(&mut self) -> bool {
        let Self::Parked { closing, .. } = self else { return false };
        *self = closing.take().map_or(Self::Live, Self::Closing);
        true
    }

    fn closing(&self) -> Option<&Closing> {
        match self {
            Self::Closing(closing) => Some(closing),
            Self::Parked { closing, .. } => closing.as_ref(),
            Self::Live | Self::EndSent { .. } | Self::Ended { .. } => None,
        }
    }

    fn closing_mut(&mut self) -> Option<&mut Closing> {
        match self {
            Self::Closing(closing) => Some(closing),
            Self::Parked { closing, .. } => closing.as_mut(),
            Self::Live | Self::EndSent { .. } | Self::Ended { .. } => None,
        }
    }
}

impl Call {
    /// Makes the call end after a goodbye, with hand-off data if a person is to take over. `goodbye_sent` says that the
    /// goodbye was sent.
    pub(super) fn begin_closing(&mut self, ending: CallEnding, goodbye_sent: bool) {
        let goodbye = if goodbye_sent { Goodbye::Sent } else { Goodbye::Owed };
        self.phase.close(Closing { ending, goodbye, is_final: false });
    }

    /// Makes a pending end final: nothing that the caller says cancels it.
    pub(super) fn make_closing_final(&mut self) {
        if let Some(closing) = self.phase.closing_mut() {
            closing.is_final = true;
        }
    }

    /// Records that the goodbye of a pending end was sent.
    pub(super) fn record_goodbye(&mut self) {
        self.set_goodbye(Goodbye::Sent);
    }

    /// Makes a pending end wait for another goodbye.
    pub(super) fn repeat_goodbye(&mut self) {
        self.set_goodbye(Goodbye::Owed);
    }

    fn set_goodbye(&mut self, goodbye: Goodbye) {
        if let Some(closing) = self.phase.closing_mut() {
            closing.goodbye = goodbye;
        }
    }

    /// Records that the goodbye of a pending end was interrupted, if any of it was spoken. The end stays pending until it
    /// is known whether the caller said more than words of courtesy.
    pub(super) fn record_goodbye_cut(&mut self, has_spoken: bool) {
        if self.phase.is_goodbye_sent() || has_spoken {
            self.set_goodbye(Goodbye::Cut);
        }
    }

    /// Records words of courtesy during a pending end. They answer a goodbye that they cut off: it is not said again.
    pub(super) fn record_courtesy(&mut self) {
        if self.phase.goodbye() == Some(Goodbye::Cut) {
            self.record_goodbye();
        }
    }

    /// Decides what follows a goodbye that was interrupted, after which nothing was said: it is said again, unless nobody
    /// could say it.
    fn settle_cut_goodbye(&mut self) {
        if self.phase.closing().is_some_and(|closing| closing.is_final) {
            self.record_goodbye();
        } else {
            self.repeat_goodbye();
            self.note(prompts::GOODBYE_CUT);
        }
    }

    /// Cancels a pending end of the call, since the caller spoke.
    pub(super) fn cancel_closing(&mut self) {
        if self.phase.cancel_closing() {
            self.note(prompts::CALL_CONTINUES);
            self.turn.owe_response();
        }
    }

    /// Asks for the goodbye, or ends the call once it was heard. Called only while the model's turn is idle.
    pub(super) fn finish_closing(&mut self) {
        if self.phase.goodbye() == Some(Goodbye::Cut) {
            if self.turn.is_held(self.now) || self.is_caller_speaking() {
                return;
            }
            self.settle_cut_goodbye();
        }
        if !self.phase.is_goodbye_sent() {
            self.turn.flush_to_history(&mut self.history);
            return self.ask_model();
        }
        self.turn.waive_response();
        let heard = self.speech.quiet_from(self.now).is_none_or(|quiet| quiet <= self.now);
        if !heard || self.is_caller_speaking() {
            return;
        }
        self.abandon_payment();
        if self.turn.has_runs() {
            return;
        }
        if let Some(closing) = self.phase.finish_closing(self.now) {
            let handoff_data = closing.ending.handoff_data.as_ref().map(|data| data.reveal().clone());
            self.ending = closing.ending;
            self.send_frame(OutgoingFrame::End { handoff_data });
        }
    }

    /// Suspends the call until a new WebSocket resumes it. An utterance that was cut off is said again then.
    pub(super) fn handle_socket_lost(&mut self) {
        match self.phase {
            Phase::Live | Phase::Closing(_) | Phase::Parked { .. } => {}
            Phase::EndSent { .. } => return self.handle_hang_up(),
            Phase::Ended { .. } => return,
        }
        let speaking = self.speech.quiet_from(self.now).is_some_and(|quiet| quiet > self.now);
        if speaking {
            self.guided_flow.record_reply_lost();
        }
        let speaking = speaking && !self.is_server_leading() && !self.has_open_question();
        let unfinished = self.turn.is_reply_unfinished() || speaking;
        if self.is_card_entry_possible() {
            self.payment_window.record_socket_lost();
        }
        self.settle_notices();
        self.phase.park(self.now);
        self.stop_reply();
        self.speech.cut_unplayed(&mut self.history);
        self.repeat_question();
        self.caller_speech.end();
        self.keypad.clear();
        if unfinished {
            self.turn.owe_response();
        }
    }

    /// Resumes the call on a new WebSocket.
    pub(super) fn handle_socket_resumed(&mut self) {
        if !self.phase.resume() {
            return;
        }
        self.speech = AgentSpeech::resumed();
        self.payment_window.record_resumed(self.now);
        self.silence_timer.reset(self.now);
        self.payments.record_progress(self.now);
        self.turn.release_hold();
        // A new ConversationRelay session begins in the language of its TwiML.
        if let Some(languages) = self.switched_languages.clone() {
            self.send_frame(OutgoingFrame::Language(languages));
        }
        self.repeat_prompt(self.now);
        if self.turn.is_response_owed() {
            self.note(prompts::CONNECTION_WAS_LOST);
        }
    }

    /// Ends the call: drops the model's stream and cancels an open payment.
    pub(super) fn handle_hang_up(&mut self) {
        if self.phase.is_ended() {
            return;
        }
        // The caller hung up before the agent's end took effect; what the model wrote down is kept.
        if let Phase::Closing(closing) | Phase::Parked { closing: Some(closing), .. } = &mut self.phase {
            self.ending.notes = std::mem::take(&mut closing.ending.notes);
        }
        self.settle_notices();
        self.phase = Phase::Ended { is_closed: false, was_lost: self.phase.is_parked() };
        self.stop_turn(prompts::CALL_IS_OVER);
        self.drop_question();
        self.abandon_payment();
        self.close_if_finished();
    }

    /// Closes an ended call once no tool is running: a payment that is still being opened has to be cancelled first.
    pub(super) fn close_if_finished(&mut self) {
        if let Phase::Ended { is_closed: is_closed @ false, .. } = &mut self.phase
            && !self.turn.has_runs()
        {
            *is_closed = true;
            self.emit(Action::Close);
        }
    }
}
