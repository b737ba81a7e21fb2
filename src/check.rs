//! `crelay-payments check`: what would go wrong in the first call, told before it.
//!
//! Only looks: nothing is changed at Twilio, and no model is asked to say anything. The order and the words of the
//! findings are for a person; a program reads the exit code.

mod address;
mod agreement;
mod assets;
mod business;
mod http;
mod model;
mod report;
mod twilio;

use crate::config::{self, Config};

pub use address::{Unwell, alive, health};
pub use report::{Finding, Level, Report};

use http::Http;

/// Looks at everything that a call needs. Takes as long as the slowest answer, and 5 seconds at most.
pub async fn check(config: &Config, warnings: &[config::Warning]) -> Report {
    let mut findings = configuration(warnings);
    findings.extend(assets::findings(&config.assets_dir, &config.payment));
    findings.extend(business::amounts(&config.payment, config.call_parameters.is_some()));
    let Ok(http) = Http::new() else {
        let words = "no HTTP client can be set up: install root certificates (ca-certificates)";
        findings.push(Finding::bad("network", words));
        return Report(findings);
    };
    let business = async {
        match &config.call_parameters {
            Some(business) => Some(business::finding(&http, business).await),
            None => None,
        }
    };
    let (twilio, address, model, business) = tokio::join!(
        twilio::findings(&http, config),
        address::finding(&http, &config.base_url),
        model::finding(&http, &config.openai),
        business,
    );
    findings.extend(twilio);
    findings.extend([address, model]);
    findings.extend(business);
    Report(findings)
}

/// The warnings of the configuration, except for those that another finding tells with more to go by.
fn configuration(warnings: &[config::Warning]) -> Vec<Finding> {
    let told_elsewhere =
        |it: &&config::Warning| !matches!(it, config::Warning::Unreachable | config::Warning::ConnectorSid);
    let read = Finding::good("configuration", "every required variable is set, and each can be read");
    let doubts = warnings.iter().filter(told_elsewhere);
    std::iter::once(read).chain(doubts.map(|it| Finding::doubt("configuration", it.to_string()))).collect()
}
