//! `Limits` of `serverConfig.json`. A missing key means the default; `null` removes a limit.

use std::time::Duration;

use serde::Deserialize;

use super::limits::{LimitSetting, WholeNumber};
use crate::usage_limits::UsageLimits;

/// The longest length of a call, in minutes: Twilio ends a call after 24 hours.
const MAX_CALL_MINUTES: u32 = 23 * 60;

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
pub(in crate::assets) struct UsageLimitsSection {
    calls: LimitSetting<WholeNumber<1, 100_000>>,
    calls_per_caller: LimitSetting<WholeNumber<1, 100_000>>,
    call_minutes: LimitSetting<WholeNumber<1, MAX_CALL_MINUTES>>,
    messages_per_call: LimitSetting<Count>,
    messages_per_caller_in_hour: LimitSetting<Count>,
    tones_per_call: LimitSetting<Count>,
    recordings_per_call: LimitSetting<Count>,
    chats: Option<WholeNumber<1, 100_000>>,
    ring_seconds: Option<WholeNumber<5, 600>>,
}

/// Zero switches the tool off.
type Count = WholeNumber<0, 1_000_000>;

impl UsageLimitsSection {
    /// Converts the section into limits, with the default for every missing key.
    pub(in crate::assets) fn into_limits(self) -> UsageLimits {
        let default = UsageLimits::default();
        let count = |named: LimitSetting<Count>, default| named.resolve(default, |WholeNumber(most)| most);
        UsageLimits {
            calls: self.calls.resolve(default.calls, |WholeNumber(most)| most),
            calls_per_caller: self.calls_per_caller.resolve(default.calls_per_caller, |WholeNumber(most)| most),
            call_length: self
                .call_minutes
                .resolve(default.call_length, |WholeNumber(minutes)| Duration::from_secs(60 * u64::from(minutes))),
            messages_per_call: count(self.messages_per_call, default.messages_per_call),
            messages_per_caller: count(self.messages_per_caller_in_hour, default.messages_per_caller),
            tones_per_call: count(self.tones_per_call, default.tones_per_call),
            recordings_per_call: count(self.recordings_per_call, default.recordings_per_call),
            chats: self.chats.map_or(default.chats, |WholeNumber(most)| most as usize),
            ring_timeout: self
                .ring_seconds
                .map_or(default.ring_timeout, |WholeNumber(seconds)| Duration::from_secs(seconds.into())),
        }
    }
}
