//! What the assets say, before a caller hears it: that they can be read, that they agree, and who would hear card data.

use std::path::Path;

use super::agreement::{Disagreement, disagreement};
use super::report::Finding;
use crate::assets::{Library, Loaded, ServerConfig};
use crate::payment::{self, BadTerms, Currency};

/// Reads all assets in the directory, those that are not in use included. Blocks while it does.
pub(super) fn findings(dir: &Path, payment: &payment::Settings) -> Vec<Finding> {
    let Loaded { library, mistakes, warnings } = match Library::load(dir) {
        Ok(loaded) => loaded,
        Err(mistake) => return vec![Finding::bad("assets", mistake.to_string())],
    };
    let mut findings: Vec<Finding> = mistakes.iter().map(|it| Finding::bad("assets", it.to_string())).collect();
    if findings.is_empty() {
        let (context, manifest) = (library.default_context(), library.default_manifest());
        findings.push(Finding::good("assets", format!("calls begin with {context} and {manifest}")));
    }
    findings.extend(warnings.iter().map(|warning| Finding::doubt("assets", warning.to_string())));
    let context = library.context(library.default_context()).unwrap_or_default();
    let manifest = library.tools(library.default_manifest()).unwrap_or_default();
    findings.extend(tools(context, &manifest.iter().map(|tool| tool.name.as_str()).collect::<Vec<_>>()));
    findings.push(payments(&library.server, payment));
    findings.extend(caps(&library.server.limits, payment.currency));
    findings.extend(texts(&library.server));
    findings.extend(pci(&library.server));
    findings
}

/// How a call pays that brings nothing but what every call brings.
fn payments(server: &ServerConfig, settings: &payment::Settings) -> Finding {
    let settings = payment::Settings { options: server.payments.clone(), ..settings.clone() };
    match settings.terms(&server.parameters.iter().cloned().collect()) {
        Ok(terms) => {
            Finding::good("payments", format!("are made with a {}: {}", terms.method.means(), terms.method.fields()))
        }
        Err(why @ BadTerms::NoAvsName) => {
            Finding::doubt("payments", format!("{why}; a call that does not bring it takes no payment"))
        }
        Err(why) => Finding::bad("payments", format!("no call can pay: {why} (serverConfig.json)")),
    }
}

/// Caps on amounts that leave nothing to be charged in the server's own currency.
fn caps(limits: &payment::Limits, currency: Currency) -> Option<Finding> {
    let bars = |caps: &payment::Caps| caps.amount.as_ref().is_some_and(|caps| caps.of(currency, currency).is_none());
    let barred = payment::Scope::ALL.into_iter().any(|scope| bars(limits.caps(scope)));
    let words = || {
        format!("Payments.Limits has caps on amounts and none for {currency} (CURRENCY): nothing can be charged in it")
    };
    barred.then(|| Finding::bad("payments", words()))
}

fn tools(context: &str, manifest: &[&str]) -> Vec<Finding> {
    let confirmed = manifest.contains(&"confirm-amount") || !manifest.contains(&"start-capture");
    let unconfirmed = (!confirmed).then(|| {
        let words = "confirm-amount is not in the manifest: only what is due (amountDue) can be charged, so add it or make sure \
                     that nothing else is meant to be";
        Finding::doubt("tools", words)
    });
    agreement(context, manifest).into_iter().chain(unconfirmed).collect()
}

fn agreement(context: &str, manifest: &[&str]) -> Vec<Finding> {
    let Disagreement { missing, doubtful } = disagreement(context, manifest);
    if missing.is_empty() && doubtful.is_empty() {
        return vec![Finding::good("tools", "every tool that the context names is in the manifest")];
    }
    let missing = missing.into_iter().map(|name| {
        let words =
            format!("the context tells the agent to use {name}, which is not in the manifest: add it, or take it out");
        Finding::bad("tools", words)
    });
    let doubtful = doubtful.into_iter().map(|name| {
        Finding::doubt(
            "tools",
            format!("the context names {name}, and no tool has that name: make sure that none is meant"),
        )
    });
    missing.chain(doubtful).collect()
}

/// Languages in which the server would have to speak for itself, and has no texts.
fn texts(server: &ServerConfig) -> Vec<Finding> {
    let silent = server.languages().into_iter().filter(|code| !server.texts.speaks(code));
    silent
        .map(|code| {
            let words = format!(
                "there are no texts for {code} in which the server asks for a yes to an amount, so those of another language are \
                 said, and no answer in that language is understood: add it to Payments.texts in serverConfig.json"
            );
            Finding::doubt("texts", words)
        })
        .collect()
}

/// What Twilio's Responsibility Matrix has to be asked about.
fn pci(server: &ServerConfig) -> Vec<Finding> {
    let mut findings = vec![Finding::doubt(
        "PCI",
        format!(
            "speech goes through {}: confirm in Twilio's Responsibility Matrix that each is PCI-compliant",
            speech(server).join("; ")
        ),
    )];
    // The three hand what is said to products that are not for card data.
    for name in ["intelligenceService", "conversationConfiguration", "conversationId"] {
        if attribute(&server.relay, name).is_some() {
            let words =
                format!("{name} is set, and what it feeds is not PCI-compliant: take it out of serverConfig.json");
            findings.push(Finding::doubt("PCI", words));
        }
    }
    for name in ["welcomeGreeting", "hints"] {
        if attribute(&server.relay, name).is_some_and(|text| text.contains(|c: char| c.is_ascii_digit())) {
            let words =
                format!("{name} has digits in it: Twilio does not protect it, so make sure that they are of no card");
            findings.push(Finding::doubt("PCI", words));
        }
    }
    findings
}

/// Who speaks and who listens, for the session and for each language that has somebody else.
fn speech(server: &ServerConfig) -> Vec<String> {
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
    use crate::check::Level;
    use crate::payment::MethodName;

    #[test]
    fn how_a_call_pays_is_told_or_why_none_can() {
        let mut server = Library::built_in().server;
        let found = |server: &ServerConfig| {
            let Finding { level, words, .. } = payments(server, &payment::Settings::sample());
            (level, words)
        };
        assert_eq!(
            found(&server),
            (Level::Good, "are made with a card: card number, security code, expiry date".to_owned())
        );
        server.payments.method = MethodName::AchDebit;
        let (level, words) = found(&server);
        assert!(level == Level::Doubt && words.contains("avsName"), "{words}");
        server.parameters = vec![("avsName".to_owned(), "Acme".to_owned())];
        assert!(found(&server).1.starts_with("are made with a bank account: bank routing number"));
        server.parameters.push(("paymentTimeout".to_owned(), "soon".to_owned()));
        let (level, words) = found(&server);
        assert!(level == Level::Bad && words.contains("paymentTimeout"), "{words}");
    }

    #[test]
    fn a_cap_that_leaves_nothing_to_charge_is_told() {
        let euros = std::collections::BTreeMap::from([("EUR".parse().unwrap(), "5".parse().unwrap())]);
        let amount = Some(payment::AmountCaps::Each(std::sync::Arc::new(euros)));
        let per_hour = payment::Caps { amount, ..payment::Caps::NONE };
        let limits = payment::Limits { per_hour, ..payment::Limits::NONE };
        let found = caps(&limits, Currency::USD).unwrap();
        assert!(found.level == Level::Bad && found.words.contains("none for USD"), "{found:?}");
        assert_eq!(caps(&limits, "EUR".parse().unwrap()), None);
        assert_eq!(caps(&payment::Limits::default(), Currency::USD), None);
    }

    #[test]
    fn what_is_built_in_agrees_with_itself() {
        let findings = findings(Path::new("/nonexistent"), &payment::Settings::sample());
        assert!(findings.iter().all(|it| it.level != Level::Bad), "{findings:?}");
        assert!(findings.iter().any(|it| it.level == Level::Good && it.subject == "tools"), "{findings:?}");
    }

    #[test]
    fn an_agent_that_cannot_confirm_an_amount_is_told() {
        let library = Library::built_in();
        let context = library.context("PaymentContext").unwrap();
        let findings = tools(context, &["start-capture"]);
        assert!(
            findings.iter().any(|it| it.level == Level::Bad && it.words.contains("confirm-amount")),
            "{findings:?}"
        );
        assert!(findings.iter().any(|it| it.level == Level::Doubt && it.words.contains("amountDue")), "{findings:?}");
    }

    #[test]
    fn each_language_is_told_with_its_own_providers_or_those_of_the_session() {
        let mut server = Library::built_in().server;
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        server.relay = vec![pair("ttsProvider", "Amazon"), pair("language", "de-DE")];
        server.languages = vec![vec![pair("code", "fr-FR"), pair("transcriptionProvider", "Google")]];
        assert_eq!(
            speech(&server),
            ["de-DE: Amazon (TTS), Twilio's default (STT)", "fr-FR: Amazon (TTS), Google (STT)"]
        );
    }

    #[test]
    fn a_language_in_which_the_server_cannot_ask_is_told() {
        let mut server = Library::built_in().server;
        assert!(texts(&server).is_empty());
        server.languages = vec![vec![("code".to_owned(), "it-IT".to_owned())]];
        let found = texts(&server);
        assert!(found.len() == 1 && found[0].words.contains("it-IT"), "{found:?}");
    }

    #[test]
    fn what_would_hear_card_data_is_told() {
        let mut server = Library::built_in().server;
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        server.relay =
            vec![pair("intelligenceService", "GA1"), pair("hints", "four two"), pair("welcomeGreeting", "4242")];
        let words: Vec<String> = pci(&server).into_iter().map(|finding| finding.words).collect();
        assert_eq!(words.len(), 3, "{words:?}");
        assert!(words[1].starts_with("intelligenceService") && words[2].starts_with("welcomeGreeting"), "{words:?}");
    }
}
