//! Limits on what callers and operators can make the server do, and on what that costs: calls, text messages, tones,
//! recordings, chats and orders.
//!
//! What exceeds a limit is refused, counted and logged. What runs already is never affected.

mod admissions;
mod counts;
mod monitor;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::log_limit::LogLimiter;
pub(crate) use admissions::{AdmissionError, Admissions, CallerKey};
pub(crate) use counts::{MessageCounts, OrderRate, OrderRateExceeded};
pub(crate) use monitor::UsageMonitor;

/// `Limits` of serverConfig.json. `None`: no limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageLimits {
    /// `calls`: calls at once.
    pub calls: Option<u32>,
    /// `callsPerCaller`: calls at once from or to one number.
    pub calls_per_caller: Option<u32>,
    /// `callMinutes`: how long a call may last.
    pub call_length: Option<Duration>,
    /// `messagesPerCall`: text messages on one call.
    pub messages_per_call: Option<u32>,
    /// `messagesPerCallerInHour`: text messages on all calls of one caller within an hour.
    pub messages_per_caller: Option<u32>,
    /// `tonesPerCall`: tones that `send-dtmf` sends on one call.
    pub tones_per_call: Option<u32>,
    /// `recordingsPerCall`: how often `play-media` plays something on one call, repetitions included.
    pub recordings_per_call: Option<u32>,
    /// `chats`: chats at once.
    pub chats: usize,
    /// `ringSeconds`: how long an outbound call may ring.
    pub ring_timeout: Duration,
}

impl Default for UsageLimits {
    fn default() -> Self {
        Self {
            calls: Some(1_000),
            calls_per_caller: Some(3),
            call_length: Some(Duration::from_secs(60 * 60)),
            messages_per_call: Some(5),
            messages_per_caller: Some(10),
            tones_per_call: Some(200),
            recordings_per_call: Some(20),
            chats: 1_000,
            ring_timeout: Duration::from_secs(30),
        }
    }
}

/// A limit, by the name of its setting. `Display` gives that name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UsageLimit {
    /// Calls at once.
    Calls,
    /// Calls at once from or to one number.
    CallsPerCaller,
    /// The length of a call.
    CallLength,
    /// Text messages on one call.
    MessagesPerCall,
    /// Text messages of one caller within an hour.
    MessagesPerCaller,
    /// Tones on one call.
    TonesPerCall,
    /// Recordings on one call.
    RecordingsPerCall,
    /// Chats at once.
    Chats,
    /// Orders for calls within a minute.
    OrdersPerMinute,
    /// The data of orders and look-ups whose calls have not ended.
    PendingData,
    /// Numbers that may be called or texted.
    Destinations,
}

impl UsageLimit {
    /// All limits, in the order in which they are shown.
    pub(crate) const ALL: [Self; 11] = [
        Self::Calls,
        Self::CallsPerCaller,
        Self::CallLength,
        Self::MessagesPerCall,
        Self::MessagesPerCaller,
        Self::TonesPerCall,
        Self::RecordingsPerCall,
        Self::Chats,
        Self::OrdersPerMinute,
        Self::PendingData,
        Self::Destinations,
    ];

    /// The key in `Limits`, or the environment variable; `pendingData` has no setting.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Calls => "calls",
            Self::CallsPerCaller => "callsPerCaller",
            Self::CallLength => "callMinutes",
            Self::MessagesPerCall => "messagesPerCall",
            Self::MessagesPerCaller => "messagesPerCallerInHour",
            Self::TonesPerCall => "tonesPerCall",
            Self::RecordingsPerCall => "recordingsPerCall",
            Self::Chats => "chats",
            Self::OrdersPerMinute => "OUTBOUND_PER_MINUTE",
            Self::PendingData => "pendingData",
            Self::Destinations => "OUTBOUND_ALLOWED",
        }
    }
}

impl fmt::Display for UsageLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The counts of one server that its limits apply to.
#[derive(Debug)]
pub(crate) struct Usage {
    /// Counts and logs what was refused.
    pub(crate) monitor: UsageMonitor,
    /// The calls at once.
    pub(crate) admissions: Admissions,
    /// The text messages of each caller. A restart begins to count anew.
    pub(crate) messages: MessageCounts,
    /// The orders of the last minute.
    pub(crate) orders: OrderRate,
}

impl Usage {
    /// Creates empty counts; `orders_per_minute` is `OUTBOUND_PER_MINUTE`.
    pub(crate) fn new(orders_per_minute: u32, log_limiter: Arc<LogLimiter>) -> Self {
        Self {
            monitor: UsageMonitor::new(log_limiter),
            admissions: Admissions::default(),
            messages: MessageCounts::default(),
            orders: OrderRate::new(orders_per_minute),
        }
    }
}
