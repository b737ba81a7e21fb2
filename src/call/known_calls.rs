//! The tool calls of a phone call by their `call_id`, which must be unique: it connects a call with its output.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};

use super::history::ToolCall;

/// The maximum number of calls that are known. A call that comes again after so many others is not recognized.
const MAX_CALLS: usize = 4096;

/// The tool calls of earlier responses.
#[derive(Default)]
pub(super) struct KnownCalls {
    /// By the hash of the id, which may be large: the number of the turn, and the hash of name and arguments.
    calls: HashMap<u64, (u64, u64)>,
    /// Its keys are random, so that no server can make two calls look equal.
    hasher: RandomState,
    /// The number of inputs so far.
    turn: u64,
    /// The server has used an id for two calls: an id that comes again says nothing.
    has_repeated_ids: bool,
    replaced_count: u64,
}

impl KnownCalls {
    /// Records an input of the caller or a payment event: a call that comes after it is no earlier one delivered again.
    pub(super) fn begin_turn(&mut self) {
        self.turn += 1;
    }

    /// Takes in a call. Returns it with an id of its own, and whether it is an earlier call that was delivered again,
    /// which must not run twice.
    pub(super) fn admit(&mut self, call: ToolCall) -> (ToolCall, bool) {
        let hash = self.hasher.hash_one((&call.name, call.arguments.as_str()));
        let id = self.hasher.hash_one(&call.call_id);
        let Some((turn, known)) = self.calls.get_mut(&id) else {
            if self.calls.len() < MAX_CALLS {
                self.calls.insert(id, (self.turn, hash));
            }
            return (call, false);
        };
        let is_equal = *known == hash;
        let is_same_turn = std::mem::replace(turn, self.turn) == self.turn;
        self.has_repeated_ids |= !is_equal;
        self.replaced_count += 1;
        let call_id = format!("call_again_{}", self.replaced_count);
        (ToolCall { call_id, ..call }, is_equal && is_same_turn && !self.has_repeated_ids)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(call_id: &str, name: &str, arguments: &str) -> ToolCall {
        ToolCall::new(call_id.to_owned(), None, name.to_owned(), arguments)
    }

    #[test]
    fn a_call_that_is_delivered_again_is_recognized_and_gets_an_id_of_its_own() {
        let mut known = KnownCalls::default();
        let sms = || call("call_1", "send-sms", r#"{"message":"Hi"}"#);
        assert!(known.admit(sms()) == (sms(), false));
        let (again, is_repeated) = known.admit(sms());
        assert!(is_repeated && again.call_id != "call_1");
        known.begin_turn();
        let (again, is_repeated) = known.admit(sms());
        assert!(!is_repeated && again.call_id != "call_1", "the caller has spoken: it is another call");
    }

    #[test]
    fn where_a_server_repeats_its_ids_each_call_is_a_new_one() {
        let mut known = KnownCalls::default();
        let ids: Vec<String> = ["start-capture", "capture-card", "capture-card", "start-capture"]
            .map(|name| {
                let (call, is_repeated) = known.admit(call("call_0", name, "{}"));
                assert!(!is_repeated, "{name}");
                call.call_id
            })
            .into();
        let unique: std::collections::BTreeSet<&String> = ids.iter().collect();
        assert_eq!(unique.len(), ids.len());
    }
}
