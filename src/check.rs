//! `crelay-payments check`: finds problems before the first call.
//!
//! Read-only: nothing is changed at Twilio, and no response of the model is requested. The findings are for a person;
//! programs use the exit code.

mod address;
mod assets;
mod business;
mod business_tools;
mod flowise;
mod http;
mod languages;
mod ledger;
mod model;
mod report;
mod tool_names;
mod twilio;
mod webhook_rules;

use crate::assets::Library;
use crate::config::{self, Config, ResponseServiceConfig};

pub use address::{HealthError, check_alive, check_health};
#[cfg(any(feature = "simulator", test))]
pub(crate) use languages::{describe_language, heard_languages};
pub use report::{CheckReport, Finding, Severity};

use http::ProbeClient;

/// Checks everything that a call needs. Takes as long as the slowest response, and at most 5 seconds.
pub async fn check(config: &Config, warnings: &[config::ConfigWarning]) -> CheckReport {
    let mut findings = check_configuration(warnings);
    let (name, phone) = (config.business_name.as_deref(), config.business_phone.as_ref());
    findings.extend(assets::check(&config.assets_dir, &config.payment, name, phone));
    findings.push(check_destinations(config));
    findings.extend(business::check_amounts(&config.payment, config.call_parameters.is_some()));
    let Ok(http) = ProbeClient::new() else {
        let message = "the HTTP client cannot be set up: install root certificates (ca-certificates)";
        findings.push(Finding::failure("network", message));
        return CheckReport(findings);
    };
    let business = async {
        match &config.call_parameters {
            Some(business) => Some(business::check(&http, business).await),
            None => None,
        }
    };
    let own_tools = async {
        match Library::load(&config.assets_dir) {
            Ok(loaded) => business_tools::check(&http, config, &loaded.library).await,
            // The check of the assets reports why.
            Err(_) => Vec::new(),
        }
    };
    let (twilio, address, response_service, business, own_tools, ledger) = tokio::join!(
        twilio::check(&http, config),
        address::check(&http, &config.base_url),
        check_response_service(&http, &config.response_service),
        business,
        own_tools,
        ledger::check(&http, &config.database, config.sealing_keys.as_ref()),
    );
    findings.extend(twilio);
    findings.push(address);
    findings.extend(response_service);
    findings.extend(business);
    findings.extend(own_tools);
    findings.extend(ledger);
    CheckReport(findings)
}

async fn check_response_service(http: &ProbeClient, config: &ResponseServiceConfig) -> Vec<Finding> {
    match config {
        ResponseServiceConfig::OpenAi(openai) => {
            let (model, socket) = tokio::join!(model::check(http, openai), model::check_socket(openai));
            std::iter::once(model).chain(socket).collect()
        }
        ResponseServiceConfig::Flowise(flowise) => flowise::check(http, flowise).await,
    }
}

/// Reports which numbers are called and texted. A number of `SMS_ALLOWED_NUMBERS` is texted besides.
fn check_destinations(config: &Config) -> Finding {
    let rate = config.outbound_per_minute;
    Finding::pass(
        "outbound",
        format!(
            "calls and text messages go to {}, without ranges that cost more; at most {rate} calls a minute",
            config.destinations
        ),
    )
}

/// Reports the warnings of the configuration, except for those that another check reports in more detail.
fn check_configuration(warnings: &[config::ConfigWarning]) -> Vec<Finding> {
    let is_reported_elsewhere = |it: &&config::ConfigWarning| {
        !matches!(it, config::ConfigWarning::LocalBaseUrl | config::ConfigWarning::ConnectorSid)
    };
    let valid = Finding::pass("configuration", "every required variable is set, and all are valid");
    let warnings = warnings.iter().filter(is_reported_elsewhere);
    std::iter::once(valid).chain(warnings.map(|it| Finding::warning("configuration", it.to_string()))).collect()
}
