//! The calls at once, in all and by caller. A call is counted from its voice webhook or its order on, before its socket is
//! open, so that a burst of calls cannot pass.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use super::{UsageLimit, UsageLimits};
use crate::ids::CallSid;
use crate::phone_number::{PhoneNumber, compact_number};

/// The longest address that is compared, in bytes.
const MAX_ADDRESS_BYTES: usize = 255;

/// The users of SIP addresses that stand for a withheld number.
const WITHHELD_WORDS: [&str; 7] =
    ["anonymous", "blocked", "private", "restricted", "unavailable", "unknown", "withheld"];

/// The calls that are live, or about to connect.
#[derive(Debug, Default)]
pub(crate) struct Admissions(Mutex<HashMap<CallSid, AdmittedCall>>);

#[derive(Debug)]
struct AdmittedCall {
    caller: Option<CallerKey>,
    /// It is about to be placed, and its SID is not known yet.
    is_reserved: bool,
    /// When it no longer counts, unless it connects; `None` while it is live.
    expires: Option<Instant>,
}

/// The other party of a call, by which calls are counted: a phone number, or an address of SIP or of a Twilio client.
/// `Debug` does not print it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct CallerKey(Box<str>);

/// Why a call was not admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AdmissionError {
    /// As many calls are live as `Limits.calls` allows.
    #[error("too many calls are live: try again later, or raise Limits.calls in serverConfig.json")]
    TooManyCalls,
    /// As many calls of this number are live as `Limits.callsPerCaller` allows.
    #[error(
        "too many calls of this number are live: try again later, or raise Limits.callsPerCaller in serverConfig.json"
    )]
    TooManyCallsOfCaller,
}

impl AdmissionError {
    /// The limit that was reached.
    pub(crate) fn limit(self) -> UsageLimit {
        match self {
            Self::TooManyCalls => UsageLimit::Calls,
            Self::TooManyCallsOfCaller => UsageLimit::CallsPerCaller,
        }
    }
}

impl CallerKey {
    /// Parses `From` or `To`. The spellings of one number, and a SIP address whose user is that number, are one caller.
    /// `None` if the number is withheld or the text is no address: such callers cannot be told apart.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (scheme, address) = text.split_once(':').unwrap_or(("tel", text));
        match scheme.to_ascii_lowercase().as_str() {
            "tel" => Self::of_number(address),
            "sip" | "sips" => Self::of_sip_address(&address.to_ascii_lowercase()),
            "client" => Some(Self::of_address("client", address)),
            _ => None,
        }
    }

    /// The number, with a plus sign even if the spelling has none: the key is compared and never called.
    fn of_number(text: &str) -> Option<Self> {
        let compact = compact_number(text.split(';').next().unwrap_or_default());
        let digits = compact.strip_prefix('+').or(compact.strip_prefix("00")).unwrap_or(&compact);
        let number: PhoneNumber = format!("+{digits}").parse().ok()?;
        (!number.is_withheld()).then(|| Self(number.as_str().into()))
    }

    /// The number that the user is, or else the user and the host, without parameters, password and port.
    fn of_sip_address(address: &str) -> Option<Self> {
        let (user, host) = address.rsplit_once('@').unwrap_or(("", address));
        let first = |text: &str| text.split([';', '?', ':', '>']).next().unwrap_or_default().trim().to_owned();
        let (user, host) = (first(user), first(host));
        let is_number = !user.is_empty() && compact_number(&user).bytes().all(|c| c.is_ascii_digit() || c == b'+');
        if is_number && let Some(number) = Self::of_number(&user) {
            return Some(number);
        }
        let is_withheld = host == "anonymous.invalid"
            || WITHHELD_WORDS.contains(&user.as_str())
            || PhoneNumber::from_spelling(&format!("+{}", user.trim_start_matches('+')))
                .is_some_and(|it| it.is_withheld());
        (!is_withheld).then(|| Self::of_address("sip", &format!("{user}@{host}")))
    }

    fn of_address(scheme: &str, address: &str) -> Self {
        let address = &address[..address.floor_char_boundary(MAX_ADDRESS_BYTES)];
        Self(format!("{scheme}:{address}").into())
    }
}

impl std::fmt::Debug for CallerKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[caller]")
    }
}

impl Admissions {
    /// Counts a call that has to connect within `wait`. A call that is counted already is admitted again.
    pub(crate) fn admit(
        &self,
        call: &CallSid,
        caller: Option<CallerKey>,
        limits: &UsageLimits,
        wait: Duration,
        now: Instant,
    ) -> Result<(), AdmissionError> {
        let mut calls = self.lock();
        if let Some(known) = calls.get_mut(call) {
            known.expires = known.expires.map(|_| now + wait);
            return Ok(());
        }
        check(&mut calls, caller.as_ref(), limits, now, has_sid)?;
        calls.insert(call.clone(), AdmittedCall { caller, expires: Some(now + wait), is_reserved: false });
        Ok(())
    }

    /// Counts a call whose socket is open, until it is released. One that is counted already is always admitted, and so
    /// is a call that continues after its session failed. Returns whether it was counted before: it rang here, or was placed from
    /// here.
    pub(crate) fn connect(
        &self,
        call: &CallSid,
        caller: Option<CallerKey>,
        limits: &UsageLimits,
        continues: bool,
        now: Instant,
    ) -> Result<bool, AdmissionError> {
        let mut calls = self.lock();
        if !continues && !calls.contains_key(call) {
            check(&mut calls, caller.as_ref(), limits, now, has_sid)?;
        }
        let known = calls.remove(call);
        let was_counted = known.is_some();
        // The voice webhook may name the caller as the `setup` frame does not: without the card number that it resembles.
        let caller = known.and_then(|known| known.caller).or(caller);
        calls.insert(call.clone(), AdmittedCall { caller, expires: None, is_reserved: false });
        Ok(was_counted)
    }

    /// Counts a call that is about to be placed, and whose SID is not known yet. It is counted for `wait`, or until it is
    /// [placed](Self::record_placed) or [released](Self::release).
    pub(crate) fn reserve(
        &self,
        called: Option<CallerKey>,
        limits: &UsageLimits,
        wait: Duration,
        now: Instant,
    ) -> Result<CallSid, AdmissionError> {
        let mut calls = self.lock();
        check(&mut calls, called.as_ref(), limits, now, |_| true)?;
        let place = CallSid::of_chat(Uuid::new_v4());
        calls.insert(place.clone(), AdmittedCall { caller: called, expires: Some(now + wait), is_reserved: true });
        Ok(place)
    }

    /// Counts a call by its SID from now on, which is that of this reservation.
    pub(crate) fn record_placed(&self, reserved: &CallSid, call: &CallSid) {
        let mut calls = self.lock();
        if let Some(known) = calls.remove(reserved) {
            calls.entry(call.clone()).or_insert(AdmittedCall { is_reserved: false, ..known });
        }
    }

    /// Stops counting a call that has ended.
    pub(crate) fn release(&self, call: &CallSid) {
        self.lock().remove(call);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<CallSid, AdmittedCall>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the SID of a call is known. A call that connects may be one that is being placed, which does not count against it.
fn has_sid(call: &AdmittedCall) -> bool {
    !call.is_reserved
}

fn check(
    calls: &mut HashMap<CallSid, AdmittedCall>,
    caller: Option<&CallerKey>,
    limits: &UsageLimits,
    now: Instant,
    counts: fn(&AdmittedCall) -> bool,
) -> Result<(), AdmissionError> {
    calls.retain(|_, call| call.expires.is_none_or(|expires| now < expires));
    let is_reached = |count: usize, limit: Option<u32>| limit.is_some_and(|limit| count >= limit as usize);
    if is_reached(calls.values().filter(|call| counts(call)).count(), limits.calls) {
        return Err(AdmissionError::TooManyCalls);
    }
    if let Some(caller) = caller {
        let same = calls.values().filter(|call| counts(call) && call.caller.as_ref() == Some(caller)).count();
        if is_reached(same, limits.calls_per_caller) {
            return Err(AdmissionError::TooManyCallsOfCaller);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT: Duration = Duration::from_secs(60);

    fn sid(n: usize) -> CallSid {
        format!("CA{n}").parse().unwrap()
    }

    fn limits(calls: u32, calls_per_caller: u32) -> UsageLimits {
        UsageLimits { calls: Some(calls), calls_per_caller: Some(calls_per_caller), ..UsageLimits::default() }
    }

    #[test]
    fn calls_are_counted_from_their_webhook_until_they_end() {
        let (admissions, limits, now) = (Admissions::default(), limits(2, 9), Instant::now());
        let admit = |n, at| admissions.admit(&sid(n), None, &limits, WAIT, at);
        assert_eq!((admit(1, now), admit(2, now)), (Ok(()), Ok(())));
        assert_eq!(admit(3, now), Err(AdmissionError::TooManyCalls));
        assert_eq!(admit(1, now), Ok(()), "a repeated webhook");
        assert_eq!(admissions.connect(&sid(1), None, &limits, false, now), Ok(true));
        assert_eq!(admissions.connect(&sid(3), None, &limits, false, now), Err(AdmissionError::TooManyCalls));
        // The second never connects.
        assert_eq!(admit(3, now + WAIT), Ok(()));
        assert_eq!(admit(4, now + WAIT), Err(AdmissionError::TooManyCalls));
        admissions.release(&sid(1));
        assert_eq!(admit(4, now + WAIT), Ok(()));
        // A call whose session failed continues whatever the limit says.
        assert_eq!(admissions.connect(&sid(1), None, &limits, true, now + WAIT), Ok(false));
    }

    #[test]
    fn calls_of_one_number_are_counted_apart() {
        let (admissions, limits, now) = (Admissions::default(), limits(100, 3), Instant::now());
        let admit = |n, from: &str| admissions.admit(&sid(n), CallerKey::parse(from), &limits, WAIT, now);
        assert!((0..3).all(|n| admit(n, "+15550100001").is_ok()));
        assert_eq!(admit(3, "+15550100001"), Err(AdmissionError::TooManyCallsOfCaller));
        let reserve = |number| admissions.reserve(CallerKey::parse(number), &limits, WAIT, now);
        assert_eq!(reserve("+15550100001"), Err(AdmissionError::TooManyCallsOfCaller));
        for spelled in [
            "+1 555 010 0001",
            "15550100001",
            "0015550100001",
            " +1 (555) 010-0001",
            "%2B1%20555%200100001",
            "tel:+15550100001;phone-context=x",
            "sip:+15550100001@gateway.example.com;transport=udp",
            "SIPS:15550100001:secret@example.com:5061",
        ] {
            assert_eq!(admit(4, spelled), Err(AdmissionError::TooManyCallsOfCaller), "{spelled}");
        }
        for (n, spelled) in
            [(10, "sip:ann@example.com"), (11, "SIP:Ann@Example.com:5060"), (12, "sip:ann@example.com;a=1")]
        {
            assert_eq!(admit(n, spelled), Ok(()), "{spelled}");
        }
        assert_eq!(admit(13, "sip:ann@example.com"), Err(AdmissionError::TooManyCallsOfCaller));
        let long = |end| format!("sip:{}{end}", "a".repeat(300));
        assert!((14..17).all(|n| admit(n, &long(n.to_string())).is_ok()));
        assert_eq!(admit(17, &long("x".to_owned())), Err(AdmissionError::TooManyCallsOfCaller));
        let withheld = [
            "+266696687",
            "266696687",
            "anonymous",
            "Anonymous",
            "",
            "Restricted",
            "sip:anonymous@anonymous.invalid",
            "sip:Restricted@example.com",
            "sip:+266696687@example.com",
        ];
        for withheld in withheld {
            assert!((20..30).all(|n| admit(n, withheld).is_ok()), "{withheld}");
        }
    }

    #[test]
    fn calls_that_are_placed_at_the_same_time_see_each_other() {
        let (admissions, limits, now) = (Admissions::default(), limits(100, 2), Instant::now());
        let called = || CallerKey::parse("+15550100001");
        let reserve = || admissions.reserve(called(), &limits, WAIT, now);
        let (first, second) = (reserve().unwrap(), reserve().unwrap());
        assert_eq!(reserve(), Err(AdmissionError::TooManyCallsOfCaller));
        // It is answered before Twilio's response to the request is read.
        assert_eq!(admissions.connect(&sid(1), called(), &limits, false, now), Ok(false));
        admissions.record_placed(&first, &sid(1));
        assert_eq!(reserve(), Err(AdmissionError::TooManyCallsOfCaller), "both count once");
        admissions.release(&second);
        let third = reserve().unwrap();
        admissions.record_placed(&third, &sid(3));
        admissions.release(&sid(3));
        assert!(reserve().is_ok() && reserve().is_err());
    }
}
