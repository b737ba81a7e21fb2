//! When the model is switched off: `shutdown_date` of `GET /v1/models/{model}`, `YYYY-MM-DD` or null at OpenAI. Other
//! servers have no such date.

use std::time::Duration;

use async_openai::error::OpenAIError;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Unit};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tracing::{debug, error, info, warn};

use super::model::Model;

/// How many days before its shutdown a model is reported. OpenAI announces a shutdown six months ahead.
pub(crate) const NOTICE_DAYS: i32 = 180;

/// How often the date is read.
const CHECK_INTERVAL: Duration = Duration::from_secs(24 * 3600);

/// The time limit of the request.
const TIMEOUT: Duration = Duration::from_secs(10);

/// When a model is switched off, as seen from today.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ModelShutdown {
    /// No date is known.
    Unannounced,
    /// In more than [`NOTICE_DAYS`] days.
    Later(Date),
    /// In this number of days, at most [`NOTICE_DAYS`].
    Soon(Date, i32),
    /// Today or earlier.
    Past(Date),
}

impl ModelShutdown {
    /// Reads the date in the description of a model. An unreadable one counts as unannounced.
    pub(crate) fn parse(model: &[u8], today: Date) -> Self {
        #[derive(Deserialize)]
        struct ModelObject {
            shutdown_date: Option<String>,
        }
        let model: Option<ModelObject> = serde_json::from_slice(model).ok();
        // The time of a day, if there is one, does not matter.
        let date = model.and_then(|model| model.shutdown_date).and_then(|date| date.get(..10)?.parse().ok());
        let days = |date: Date| today.until((Unit::Day, date)).map_or(0, |span| span.get_days());
        match date {
            None => Self::Unannounced,
            Some(date) if date <= today => Self::Past(date),
            Some(date) if days(date) <= NOTICE_DAYS => Self::Soon(date, days(date)),
            Some(date) => Self::Later(date),
        }
    }

    /// The date, if one is known.
    fn date(self) -> Option<Date> {
        match self {
            Self::Unannounced => None,
            Self::Later(date) | Self::Soon(date, _) | Self::Past(date) => Some(date),
        }
    }
}

/// Today's date in UTC.
pub(crate) fn today() -> Date {
    Timestamp::now().to_zoned(TimeZone::UTC).date()
}

impl Model {
    /// Reads the shutdown date of the model once a day, and logs it if it is near. Never returns.
    pub(crate) async fn watch_shutdown(self) {
        let mut daily = interval(CHECK_INTERVAL);
        daily.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            daily.tick().await;
            match timeout(TIMEOUT, self.read_description()).await {
                Ok(Ok(model)) => self.log_shutdown(ModelShutdown::parse(model.get().as_bytes(), today())),
                Ok(Err(_)) | Err(_) => {
                    debug!(event = "openai.model_unread", "The model's description cannot be read.");
                }
            }
        }
    }

    /// The description of the model.
    async fn read_description(&self) -> Result<Box<RawValue>, OpenAIError> {
        self.inner.client.models().retrieve_byot(&self.inner.name).await
    }

    fn log_shutdown(&self, shutdown: ModelShutdown) {
        self.inner.telemetry.record(|telemetry| telemetry.record_shutdown(shutdown.date()));
        let model = &self.inner.name;
        match shutdown {
            ModelShutdown::Unannounced => {}
            ModelShutdown::Later(date) => {
                info!(event = "openai.model_shutdown", model, %date, "The model will be switched off.");
            }
            ModelShutdown::Soon(date, days) => {
                warn!(event = "openai.model_shutdown", model, %date, days, "The model will be switched off soon.");
            }
            ModelShutdown::Past(date) => {
                error!(event = "openai.model_shutdown", model, %date, "The model is switched off.");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::captured_log::CapturedLog;
    use crate::config::OpenAiConfig;
    use crate::llm::ModelLimits;
    use crate::simulator::raw_server::RawResponse::Plain;
    use crate::simulator::raw_server::RawServer;

    const TODAY: Date = jiff::civil::date(2026, 11, 26);

    #[test]
    fn the_date_is_past_soon_or_later() {
        let parse = |model: &str| ModelShutdown::parse(model.as_bytes(), TODAY);
        let on = |date: &str| parse(&format!(r#"{{"id":"gpt-4o","object":"model","shutdown_date":"{date}"}}"#));
        assert_eq!(on("2027-01-14"), ModelShutdown::Soon(jiff::civil::date(2027, 1, 14), 49));
        assert_eq!(on("2027-01-14T00:00:00Z"), ModelShutdown::Soon(jiff::civil::date(2027, 1, 14), 49));
        assert_eq!(on("2027-05-25"), ModelShutdown::Soon(jiff::civil::date(2027, 5, 25), 180));
        assert_eq!(on("2027-05-26"), ModelShutdown::Later(jiff::civil::date(2027, 5, 26)));
        assert_eq!(on("2026-11-26"), ModelShutdown::Past(TODAY));
        assert_eq!(on("2025-01-01"), ModelShutdown::Past(jiff::civil::date(2025, 1, 1)));
        for unknown in ["", "soon", "2027-13-01", "2027-01"] {
            assert_eq!(on(unknown), ModelShutdown::Unannounced, "{unknown}");
        }
        for model in [r#"{"shutdown_date":null}"#, r#"{"id":"m"}"#, r#"{"shutdown_date":5}"#, "<html>", ""] {
            assert_eq!(parse(model), ModelShutdown::Unannounced, "{model}");
        }
    }

    #[tokio::test]
    async fn the_shutdown_of_the_model_is_logged_at_start() {
        let past = r#"{"id":"gpt-4o","shutdown_date":"2001-01-01"}"#;
        let log = CapturedLog::start();
        let (server, _answered) = RawServer::start(vec![Plain(200, vec![], past)]).await;
        let base_url = format!("{}/v1?api-version=1", server.origin()).parse().unwrap();
        let limits = ModelLimits { first_token: TIMEOUT, response: TIMEOUT, retries: 0 };
        let model =
            Model::new(&OpenAiConfig::new("sk-1".into(), "gpt-4o", base_url), &"secret".into(), limits).unwrap();
        let watch = model.watch_shutdown();
        tokio::pin!(watch);
        while log.count_events("ERROR", "openai.model_shutdown") == 0 {
            tokio::select! {
                () = &mut watch => {}
                () = tokio::task::yield_now() => {}
            }
        }
        assert_eq!(server.requests()[0].path, "/v1/models/gpt-4o?api-version=1");
    }
}
