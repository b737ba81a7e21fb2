//! Checks of the assets: that they can be loaded, are consistent, and do not expose card data.

use std::path::Path;

use super::languages;
use super::report::Finding;
use super::tool_names::{ToolMismatch, compare_tools};
use crate::assets::{DETECTED_LANGUAGE, Library, LoadedLibrary, ServerConfig};
use crate::call;
use crate::payment::{self, Currency, PaymentMethodName, PaymentTermsError, TokenType};
use crate::phone_number::PhoneNumber;

/// Checks all assets in the directory, including unused ones. Blocks on file I/O.
pub(super) fn check(
    dir: &Path,
    payment: &payment::PaymentSettings,
    business_name: Option<&str>,
    business_phone: Option<&PhoneNumber>,
) -> Vec<Finding> {
    let LoadedLibrary { library, errors, warnings } = match Library::load(dir) {
        Ok(loaded) => loaded,
        Err(error) => return vec![Finding::failure("assets", error.to_string())],
    };
    let mut findings: Vec<Finding> = errors.iter().map(|it| Finding::failure("assets", it.to_string())).collect();
    if findings.is_empty() {
        let (context, manifest) = (library.default_context(), library.default_manifest());
        findings.push(Finding::pass("assets", format!("calls begin with {context} and {manifest}")));
    }
    findings.extend(warnings.iter().map(|warning| Finding::warning("assets", warning.to_string())));
    let context = library.context(library.default_context()).unwrap_or_default();
    let manifest = library.tools(library.default_manifest()).unwrap_or_default();
    let listed = library.server.tool_servers.iter().flat_map(|server| &server.allowed);
    let tools = manifest.iter().map(|tool| &tool.name).chain(listed);
    findings.extend(check_tools(context, &tools.map(String::as_str).collect::<Vec<_>>()));
    findings.push(check_payments(&library.server, payment));
    findings.extend(check_caps(&library.server.limits, payment.currency));
    findings.extend(check_texts(&library.server));
    findings.extend(check_language_detection(&library.server));
    findings.push(check_disclosure(&library.server, business_name));
    findings.extend(check_authorizations(&library.server, payment));
    findings.extend(check_receipt(&library.server, business_name, business_phone));
    findings.extend(check_recording(&library.server, business_name));
    findings.extend(check_outbound(&library.server, business_name));
    findings.extend(check_pci(&library.server));
    findings.extend(languages::check(&library.server));
    findings
}

/// Checks the payment terms of a call without parameters of its own.
fn check_payments(server: &ServerConfig, settings: &payment::PaymentSettings) -> Finding {
    let settings = payment::PaymentSettings { options: server.payment_options.clone(), ..settings.clone() };
    match settings.parse_terms(&server.parameters.iter().cloned().collect()) {
        Ok(terms) => Finding::pass(
            "payments",
            format!("are made with a {}: {}", terms.method.spoken_name(), terms.method.fields()),
        ),
        Err(why @ PaymentTermsError::NoAvsName) => {
            Finding::warning("payments", format!("{why}; a call without it takes no payment"))
        }
        Err(why) => Finding::failure("payments", format!("no call can pay: {why} (serverConfig.json)")),
    }
}

/// Checks that caps on amounts include the server's own currency.
fn check_caps(limits: &payment::VelocityLimits, currency: Currency) -> Option<Finding> {
    let is_blocked = |caps: &payment::VelocityCaps| {
        caps.amount.as_ref().is_some_and(|caps| caps.cap_for(currency, currency).is_none())
    };
    let has_blocked = payment::LimitScope::ALL.into_iter().any(|scope| is_blocked(limits.caps(scope)));
    let message = || {
        format!("Payments.Limits has caps on amounts but none for {currency} (CURRENCY): nothing can be charged in it")
    };
    has_blocked.then(|| Finding::failure("payments", message()))
}

fn check_tools(context: &str, manifest: &[&str]) -> Vec<Finding> {
    let confirmed = manifest.contains(&"confirm-amount") || !manifest.contains(&"start-capture");
    let unconfirmed = (!confirmed).then(|| {
        let message = "confirm-amount is not in the manifest: only an amount due (amountDue) can be charged; add the tool if \
                     other amounts should be charged, too";
        Finding::warning("tools", message)
    });
    check_tool_names(context, manifest).into_iter().chain(unconfirmed).collect()
}

fn check_tool_names(context: &str, manifest: &[&str]) -> Vec<Finding> {
    let ToolMismatch { missing, unrecognized: doubtful } = compare_tools(context, manifest);
    if missing.is_empty() && doubtful.is_empty() {
        return vec![Finding::pass("tools", "every tool that the context names is in the manifest")];
    }
    let missing = missing.into_iter().map(|name| {
        let message =
            format!("the context tells the agent to use {name}, which is not in the manifest: add it there, or remove it from the context");
        Finding::failure("tools", message)
    });
    let doubtful = doubtful.into_iter().map(|name| {
        Finding::warning(
            "tools",
            format!("the context names {name}, and no tool has that name: make sure that it is not meant to be a tool"),
        )
    });
    missing.chain(doubtful).collect()
}

/// Checks that there are texts for every language of a session.
fn check_texts(server: &ServerConfig) -> Vec<Finding> {
    let codes = server.language_codes().into_iter().filter(|code| code != DETECTED_LANGUAGE);
    let silent = codes.filter(|code| !server.texts.has_language(code));
    silent
        .map(|code| {
            let message = format!(
                "there are no texts for {code}: the server asks for the confirmation of an amount in another language, and does not \
                 understand an answer in this one; add the language to Payments.texts in serverConfig.json"
            );
            Finding::warning("texts", message)
        })
        .collect()
}

/// Checks that callers are told that a machine is speaking.
fn check_disclosure(server: &ServerConfig, business_name: Option<&str>) -> Finding {
    if let Some(problem) = server.disclosure_problem(business_name) {
        return Finding::warning("disclosure", problem.to_string());
    }
    let texts = server.filled_disclosure(business_name);
    let text = texts.as_ref().and_then(|texts| texts.find(server.spoken_language())).map(|it| it.text.as_str());
    Finding::pass("disclosure", format!("callers hear: {}", text.unwrap_or_default()))
}

/// Checks that callers authorise bank debits and stored cards, where the default of calls is one.
fn check_authorizations(server: &ServerConfig, settings: &payment::PaymentSettings) -> Vec<Finding> {
    let debits = server.payment_options.method == PaymentMethodName::AchDebit;
    let stores = settings.token_type != TokenType::OneTime;
    let of_debits = debits.then(|| {
        let rule = "the rules of bank debits by telephone require one";
        check_authorization(
            server,
            "achAuthorization",
            server.ach_authorization.as_ref(),
            call::BANK_DEBIT_CONTENTS,
            rule,
        )
    });
    let of_cards = stores.then(|| {
        let rule = "the rules of card networks require one before a card is stored";
        check_authorization(server, "storedCard", server.stored_card.as_ref(), call::STORED_CARD_CONTENTS, rule)
    });
    of_debits.into_iter().chain(of_cards).flatten().collect()
}

/// Checks one of these texts, which has to contain the `required` placeholders.
fn check_authorization(
    server: &ServerConfig,
    name: &str,
    text: Option<&call::ComplianceText>,
    required: &[&str],
    rule: &str,
) -> Vec<Finding> {
    let Some(text) = text else {
        let message = format!("Compliance.{name} is false: callers are not asked for an authorisation, and {rule}");
        return vec![Finding::warning("authorization", message)];
    };
    let lacking = text.lacking(required).map(|(language, lacks)| {
        let message =
            format!("Compliance.{name} in {language} has no {{{lacks}}}: its statement must name that; write it in");
        Finding::warning("authorization", message)
    });
    let codes =
        server.language_codes().into_iter().filter(|code| code != DETECTED_LANGUAGE && !text.has_language(code));
    let missing = codes.map(|code| {
        let message = format!("Compliance.{name} has no text in {code}: callers hear it in another language; add one");
        Finding::warning("authorization", message)
    });
    let lacking: Vec<Finding> = lacking.chain(missing).collect();
    if lacking.is_empty() {
        let message =
            format!("callers are asked for one before a payment is submitted that needs it (Compliance.{name})");
        return vec![Finding::pass("authorization", message)];
    }
    lacking
}

/// Checks that receipts, if they are on, can be sent. A missing language is a warning of the assets.
fn check_receipt(server: &ServerConfig, name: Option<&str>, phone: Option<&PhoneNumber>) -> Option<Finding> {
    server.receipt.as_ref()?;
    Some(match server.find_receipt_problem(name.is_some(), phone.is_some()) {
        Some(problem) => Finding::warning("receipt", problem.to_string()),
        None => Finding::pass("receipt", "callers get a text message after a payment that succeeded"),
    })
}

/// Checks what callers hear before a call is recorded, if calls are.
fn check_recording(server: &ServerConfig, business_name: Option<&str>) -> Vec<Finding> {
    let Some(recording) = server.recording_settings(business_name) else { return Vec::new() };
    let text = recording.announcement.find(server.spoken_language()).map(|it| it.text.as_str()).unwrap_or_default();
    let heard = Finding::pass("recording", format!("callers hear before calls are recorded: {text}"));
    let listens = server.listen_only.then_some(
        "in listen mode nothing is said: calls are recorded only once it is switched off, and the announcement was heard",
    );
    let guesses = (!server.reports_speech()).then_some(
        "whether the caller has heard the announcement is estimated: add \"speaker-events tokens-played\" to events of \
         ConversationRelay",
    );
    let nameless = recording_names_nobody(server, business_name).then_some(
        "Recording.announcement has {business} in it, and BUSINESS_NAME is not set: callers hear a built-in text; set BUSINESS_NAME",
    );
    let hints = [listens, guesses, nameless].into_iter().flatten().map(|hint| Finding::warning("recording", hint));
    std::iter::once(heard).chain(hints).collect()
}

/// Checks what people hear first whom this server calls, where there are rules for that.
fn check_outbound(server: &ServerConfig, business_name: Option<&str>) -> Vec<Finding> {
    if server.outbound.is_none() {
        return Vec::new();
    }
    let Some(greeting) = server.outbound_greeting(business_name) else {
        let message = "Compliance.outbound.greeting cannot be said, since Compliance.disclosure or BUSINESS_NAME is missing: calls that are \
                       placed begin with welcomeGreeting";
        return vec![Finding::warning("outbound", message)];
    };
    let first_sentence = greeting.split_inclusive(['.', '?', '!']).next().unwrap_or_default();
    let names_business = business_name.is_some_and(|name| first_sentence.contains(name.trim_end_matches('.')));
    let hint = (!names_business).then(|| {
        let message = "the first sentence of a call that is placed does not say who calls: set BUSINESS_NAME, and begin \
                       Compliance.outbound.greeting with {disclosure} or {business}";
        Finding::warning("outbound", message)
    });
    let heard = Finding::pass("outbound", format!("whom this server calls hears first: {greeting}"));
    std::iter::once(heard).chain(hint).collect()
}

fn recording_names_nobody(server: &ServerConfig, business_name: Option<&str>) -> bool {
    business_name.is_none() && server.recording.as_ref().is_some_and(|it| it.announcement.uses(crate::call::BUSINESS))
}

/// Reports what has to be looked up in Twilio's Responsibility Matrix.
fn check_pci(server: &ServerConfig) -> Vec<Finding> {
    let mut findings = vec![Finding::warning(
        "PCI",
        format!(
            "speech goes through {}: confirm in Twilio's Responsibility Matrix that each is PCI-compliant",
            speech_providers(server).join("; ")
        ),
    )];
    let of_session = ["welcomeGreeting", "hints"].map(|name| (name.to_owned(), attribute(&server.relay, name)));
    let of_languages = server.languages.iter().map(|language| {
        let code = attribute(language, "code").unwrap_or_default();
        (format!("hints of {code}"), attribute(language, "hints"))
    });
    for (name, text) in of_session.into_iter().chain(of_languages) {
        if text.is_some_and(|text| text.contains(|c: char| c.is_ascii_digit())) {
            let message = format!(
                "{name} has digits in it: Twilio does not protect it, so make sure that they are not card data"
            );
            findings.push(Finding::warning("PCI", message));
        }
    }
    findings
}

/// Checks that the providers can detect languages: with others, `multi` ends every call with error 64101.
fn check_language_detection(server: &ServerConfig) -> Vec<Finding> {
    let of_session = [
        ("transcriptionLanguage", "transcriptionProvider", "Deepgram"),
        ("ttsLanguage", "ttsProvider", "ElevenLabs"),
        ("language", "transcriptionProvider", "Deepgram"),
        ("language", "ttsProvider", "ElevenLabs"),
    ];
    let is_multi = |of: &[(String, String)], name: &str| attribute(of, name) == Some(DETECTED_LANGUAGE);
    let session = of_session.into_iter().filter(|(name, ..)| is_multi(&server.relay, name));
    let session = session.filter_map(|(name, provider, needed)| {
        wrong_provider(&server.relay, &[], provider, needed, &format!("{name} is {DETECTED_LANGUAGE}"))
    });
    let languages = server.languages.iter().filter(|language| is_multi(language, "code"));
    let languages = languages.flat_map(|language| {
        [("transcriptionProvider", "Deepgram"), ("ttsProvider", "ElevenLabs")].into_iter().filter_map(
            |(provider, needed)| {
                wrong_provider(language, &server.relay, provider, needed, "a language has the code multi")
            },
        )
    });
    session.chain(languages).collect()
}

/// The finding if a provider is not the one that is needed. Without one of its own a language has that of the session.
fn wrong_provider(
    own: &[(String, String)],
    inherited: &[(String, String)],
    name: &str,
    needed: &str,
    why: &str,
) -> Option<Finding> {
    match attribute(own, name).or_else(|| attribute(inherited, name)) {
        Some(provider) if provider.eq_ignore_ascii_case(needed) => None,
        Some(provider) => {
            let message =
                format!("{why}, and only {needed} can detect languages: set {name} to {needed}, not {provider}");
            Some(Finding::failure("languages", message))
        }
        // Accounts that used ConversationRelay before September 2025 have another default.
        None => Some(Finding::warning("languages", format!("{why}, and only {needed} can: set {name} to {needed}"))),
    }
}

/// The speech providers of the session and of each language.
fn speech_providers(server: &ServerConfig) -> Vec<String> {
    let provider = |of: &[(String, String)], name: &str| attribute(of, name).map(str::to_owned);
    let default = || "Twilio's default".to_owned();
    let speaks = provider(&server.relay, "ttsProvider").unwrap_or_else(default);
    let listens = provider(&server.relay, "transcriptionProvider").unwrap_or_else(default);
    let main = attribute(&server.relay, "language").unwrap_or("en-US");
    let languages = server.languages.iter().map(|language| {
        let code = attribute(language, "code").unwrap_or_default();
        let speaks = provider(language, "ttsProvider").unwrap_or_else(|| speaks.clone());
        let listens = provider(language, "transcriptionProvider").unwrap_or_else(|| listens.clone());
        format!("{code}: {speaks} (TTS), {listens} (STT)")
    });
    std::iter::once(format!("{main}: {speaks} (TTS), {listens} (STT)")).chain(languages).collect()
}

fn attribute<'a>(attributes: &'a [(String, String)], wanted: &str) -> Option<&'a str> {
    attributes.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Severity;
    use crate::payment::PaymentMethodName;

    #[test]
    fn the_payment_terms_are_reported() {
        let mut server = Library::built_in().server;
        let found = |server: &ServerConfig| {
            let Finding { severity: level, message: words, .. } =
                check_payments(server, &payment::PaymentSettings::sample());
            (level, words)
        };
        assert_eq!(
            found(&server),
            (Severity::Pass, "are made with a card: card number, security code, expiry date".to_owned())
        );
        server.payment_options.method = PaymentMethodName::AchDebit;
        let (level, words) = found(&server);
        assert!(level == Severity::Warning && words.contains("avsName"), "{words}");
        server.parameters = vec![("avsName".to_owned(), "Acme".to_owned())];
        assert!(found(&server).1.starts_with("are made with a bank account: bank routing number"));
        server.parameters.push(("paymentTimeout".to_owned(), "soon".to_owned()));
        let (level, words) = found(&server);
        assert!(level == Severity::Failure && words.contains("paymentTimeout"), "{words}");
    }

    #[test]
    fn a_cap_without_the_own_currency_is_reported() {
        let euros = std::collections::BTreeMap::from([("EUR".parse().unwrap(), "5".parse().unwrap())]);
        let amount = Some(payment::AmountCaps::PerCurrency(std::sync::Arc::new(euros)));
        let per_hour = payment::VelocityCaps { amount, ..payment::VelocityCaps::NONE };
        let limits = payment::VelocityLimits { per_hour, ..payment::VelocityLimits::NONE };
        let found = check_caps(&limits, Currency::USD).unwrap();
        assert!(found.severity == Severity::Failure && found.message.contains("none for USD"), "{found:?}");
        assert_eq!(check_caps(&limits, "EUR".parse().unwrap()), None);
        assert_eq!(check_caps(&payment::VelocityLimits::default(), Currency::USD), None);
    }

    #[test]
    fn the_built_in_assets_are_consistent() {
        let findings = check(Path::new("/nonexistent"), &payment::PaymentSettings::sample(), None, None);
        assert!(findings.iter().all(|it| it.severity != Severity::Failure), "{findings:?}");
        assert!(findings.iter().any(|it| it.severity == Severity::Pass && it.subject == "tools"), "{findings:?}");
    }

    #[test]
    fn a_missing_confirm_amount_is_reported() {
        let library = Library::built_in();
        let context = library.context("PaymentContext").unwrap();
        let findings = check_tools(context, &["start-capture"]);
        assert!(
            findings.iter().any(|it| it.severity == Severity::Failure && it.message.contains("confirm-amount")),
            "{findings:?}"
        );
        assert!(
            findings.iter().any(|it| it.severity == Severity::Warning && it.message.contains("amountDue")),
            "{findings:?}"
        );
    }

    #[test]
    fn each_language_is_reported_with_its_own_providers_or_those_of_the_session() {
        let mut server = Library::built_in().server;
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        server.relay = vec![pair("ttsProvider", "Amazon"), pair("language", "de-DE")];
        server.languages = vec![vec![pair("code", "fr-FR"), pair("transcriptionProvider", "Google")]];
        assert_eq!(
            speech_providers(&server),
            ["de-DE: Amazon (TTS), Twilio's default (STT)", "fr-FR: Amazon (TTS), Google (STT)"]
        );
    }

    #[test]
    fn a_language_without_texts_is_reported() {
        let mut server = Library::built_in().server;
        assert!(check_texts(&server).is_empty());
        server.languages = vec![vec![("code".to_owned(), "it-IT".to_owned())]];
        let found = check_texts(&server);
        assert!(found.len() == 1 && found[0].message.contains("it-IT"), "{found:?}");
    }

    #[test]
    fn whom_this_server_calls_hears_first_who_calls() {
        let found = |config: &str, name: Option<&str>| {
            let directory = tempfile::tempdir().unwrap();
            std::fs::write(directory.path().join("serverConfig.json"), config).unwrap();
            let found = check(directory.path(), &payment::PaymentSettings::sample(), name, None);
            let found = found.into_iter().filter(|finding| finding.subject == "outbound");
            found.map(|finding| (finding.severity == Severity::Pass, finding.message)).collect::<Vec<_>>()
        };
        assert!(found("{}", Some("Acme")).is_empty());
        let built_in = r#"{"Compliance": {"outbound": {}}}"#;
        let heard =
            "whom this server calls hears first: This is the automated AI assistant of Acme Inc. Do you have a moment?";
        assert_eq!(found(built_in, Some("Acme Inc.")), [(true, heard.to_owned())]);
        let nameless = found(built_in, None);
        assert!(
            nameless.len() == 2 && !nameless[1].0 && nameless[1].1.contains("does not say who calls"),
            "{nameless:?}"
        );
        let late = r#"{"Compliance": {"outbound": {"greeting": {"en": "Hello there. This is {business}."}}}}"#;
        assert!(found(late, Some("Acme"))[1].1.contains("does not say who calls"));
        let silent = r#"{"Compliance": {"disclosure": false, "outbound": {}}}"#;
        assert!(found(silent, Some("Acme"))[0].1.contains("cannot be said"));
    }

    #[test]
    fn what_callers_hear_of_a_recording_is_reported() {
        let found = |config: &str| {
            let directory = tempfile::tempdir().unwrap();
            std::fs::write(directory.path().join("serverConfig.json"), config).unwrap();
            let found = check(directory.path(), &payment::PaymentSettings::sample(), None, None);
            let found = found.into_iter().filter(|finding| finding.subject == "recording");
            found.map(|finding| (finding.severity == Severity::Pass, finding.message)).collect::<Vec<_>>()
        };
        assert!(found("{}").is_empty());
        let relay = r#""ConversationRelay": {"Configuration": {"events": "speaker-events"}}"#;
        let heard = found(&format!(r#"{{{relay}, "Recording": {{"enabled": true}}}}"#));
        assert_eq!(heard, [(true, "callers hear before calls are recorded: This call is being recorded.".to_owned())]);
        for (config, hint) in [
            (r#"{"Recording": {"enabled": true}}"#.to_owned(), "is estimated"),
            (
                format!(
                    r#"{{{relay}, "Server": {{"ListenMode": {{"enabled": true}}}}, "Recording": {{"enabled": true}}}}"#
                ),
                "in listen mode",
            ),
            (
                format!(
                    r#"{{{relay}, "Recording": {{"enabled": true, "announcement": {{"en": "{{business}} records."}}}}}}"#
                ),
                "set BUSINESS_NAME",
            ),
        ] {
            let found = found(&config);
            assert!(found.len() == 2 && !found[1].0 && found[1].1.contains(hint), "{found:?}");
        }
    }

    #[test]
    fn a_disclosure_that_callers_do_not_hear_as_intended_is_reported() {
        let found = |config: &str, name: Option<&str>| {
            let directory = tempfile::tempdir().unwrap();
            std::fs::write(directory.path().join("serverConfig.json"), config).unwrap();
            let found = check(directory.path(), &payment::PaymentSettings::sample(), name, None);
            let found = found.into_iter().find(|finding| finding.subject == "disclosure").unwrap();
            (found.severity, found.message)
        };
        let greets = |text: &str| format!(r#"{{"ConversationRelay":{{"welcomeGreeting":"{text}"}}}}"#);
        for (config, name, severity, message) in [
            ("{}", None, Severity::Pass, "callers hear: This is an automated AI assistant."),
            ("{}", Some("Acme"), Severity::Pass, "callers hear: This is the automated AI assistant of Acme."),
            (&greets("Hi. {disclosure}"), None, Severity::Pass, "callers hear"),
            (&greets("Hi. This is an automated AI assistant."), None, Severity::Pass, "callers hear"),
            (
                &greets("Hi. This is an automated AI assistant."),
                Some("Acme"),
                Severity::Warning,
                "welcomeGreeting does not",
            ),
            (&greets("Hi."), None, Severity::Warning, "welcomeGreeting does not say"),
            (r#"{"Compliance":{"disclosure":false}}"#, None, Severity::Warning, "Compliance.disclosure is false"),
            (
                r#"{"Compliance":{"disclosure":{"en":"I am {business}."}}}"#,
                None,
                Severity::Warning,
                "Compliance.disclosure has {business}",
            ),
            (
                r#"{"Compliance":{"disclosure":{"en":"I am {business}."}}}"#,
                Some("Acme"),
                Severity::Pass,
                "callers hear: I am Acme.",
            ),
        ] {
            let (level, text) = found(config, name);
            assert!(level == severity && text.starts_with(message), "{config} {name:?}: {text}");
        }
    }

    #[test]
    fn an_authorisation_that_states_too_little_is_reported() {
        let found = |config: &str, token_type: TokenType| {
            let directory = tempfile::tempdir().unwrap();
            std::fs::write(directory.path().join("serverConfig.json"), config).unwrap();
            let settings = payment::PaymentSettings { token_type, ..payment::PaymentSettings::sample() };
            let found = check(directory.path(), &settings, None, None);
            let of_authorizations = found.into_iter().filter(|finding| finding.subject == "authorization");
            of_authorizations.map(|finding| (finding.severity, finding.message)).collect::<Vec<_>>()
        };
        assert_eq!(found("{}", TokenType::OneTime), []);
        assert!(
            matches!(&found("{}", TokenType::Reusable)[..], [(Severity::Pass, text)] if text.contains("storedCard"))
        );
        let by_account = |compliance: &str| {
            let payments = r#"{"method":"ach-debit","parameters":{"AVSName":"Ann"}}"#;
            found(&format!(r#"{{"Payments":{payments},"Compliance":{compliance}}}"#), TokenType::OneTime)
        };
        assert!(matches!(&by_account("{}")[..], [(Severity::Pass, _)]));
        let [(Severity::Warning, why)] = &by_account(r#"{"achAuthorization":false}"#)[..] else { panic!() };
        assert!(why.contains("Compliance.achAuthorization is false"), "{why}");
        let text = r#"{"achAuthorization":{"en-US":"On {date} {name} agrees to {amount} from {account}."}}"#;
        let [(Severity::Warning, why)] = &by_account(text)[..] else { panic!() };
        assert!(why.contains("in en-US has no {phone}"), "{why}");
    }

    #[test]
    fn what_receipts_lack_is_reported() {
        let phone: PhoneNumber = "+15550003333".parse().unwrap();
        let found = |config: &str, name: Option<&str>, phone: Option<&PhoneNumber>| {
            let directory = tempfile::tempdir().unwrap();
            std::fs::write(directory.path().join("serverConfig.json"), config).unwrap();
            let found = check(directory.path(), &payment::PaymentSettings::sample(), name, phone);
            let of_receipts = |finding: &Finding| finding.subject == "receipt" || finding.message.contains("receipt");
            found.into_iter().filter(of_receipts).map(|finding| (finding.severity, finding.message)).collect::<Vec<_>>()
        };
        let on = r#"{"Compliance":{"receipt":true}}"#;
        assert!(
            found("{}", None, None).is_empty() && found(r#"{"Compliance":{"receipt":false}}"#, None, None).is_empty()
        );
        let [(Severity::Warning, why)] = &found(on, None, Some(&phone))[..] else { panic!() };
        assert!(why.contains("BUSINESS_NAME"), "{why}");
        let [(Severity::Warning, why)] = &found(on, Some("Acme"), None)[..] else { panic!() };
        assert!(why.contains("BUSINESS_PHONE"), "{why}");
        assert!(matches!(found(on, Some("Acme"), Some(&phone))[..], [(Severity::Pass, _)]));
        let italian = r#"{"ConversationRelay":{"Languages":[{"code":"it-IT"}]},"Compliance":{"receipt":true}}"#;
        let [(Severity::Warning, why), (Severity::Pass, _)] = &found(italian, Some("Acme"), Some(&phone))[..] else {
            panic!()
        };
        assert!(why.contains("Compliance.receipt has no text in it-IT"), "{why}");
    }

    #[test]
    fn a_provider_that_cannot_detect_languages_is_reported() {
        let mut server = Library::built_in().server;
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert!(check_language_detection(&server).is_empty());
        server.relay = vec![pair("transcriptionLanguage", "multi"), pair("ttsLanguage", "multi")];
        let providers =
            |speaks: &str, listens: &str| vec![pair("ttsProvider", speaks), pair("transcriptionProvider", listens)];
        let found = |server: &ServerConfig, more: Vec<(String, String)>| {
            let relay = [server.relay.clone(), more].concat();
            let found = check_language_detection(&ServerConfig { relay, ..server.clone() });
            found.into_iter().map(|it| (it.severity, it.message)).collect::<Vec<_>>()
        };
        assert!(found(&server, providers("elevenlabs", "Deepgram")).is_empty());
        let wrong = found(&server, providers("Amazon", "Google"));
        assert!(wrong.iter().all(|(severity, _)| *severity == Severity::Failure) && wrong.len() == 2, "{wrong:?}");
        assert!(wrong[0].1.contains("set transcriptionProvider to Deepgram, not Google"), "{wrong:?}");
        let unset = found(&server, Vec::new());
        assert!(unset.iter().all(|(severity, _)| *severity == Severity::Warning) && unset.len() == 2, "{unset:?}");
        server.relay = providers("ElevenLabs", "Deepgram");
        server.languages = vec![vec![pair("code", "multi"), pair("ttsProvider", "Google")]];
        assert!(found(&server, Vec::new())[0].1.contains("ttsProvider"));
    }

    #[test]
    fn products_that_receive_card_data_are_reported() {
        let mut server = Library::built_in().server;
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        server.relay = vec![pair("hints", "four two"), pair("welcomeGreeting", "4242")];
        server.languages = vec![vec![pair("code", "fr-FR"), pair("hints", "4111")]];
        let words: Vec<String> = check_pci(&server).into_iter().map(|finding| finding.message).collect();
        assert_eq!(words.len(), 3, "{words:?}");
        assert!(words[1].starts_with("welcomeGreeting") && words[2].starts_with("hints of fr-FR"), "{words:?}");
    }
}
