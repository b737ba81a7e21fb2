//! What must hold for any asset, as a check for a fuzzer.

use quick_xml::Reader;
use quick_xml::events::Event;

use super::Assets;
use crate::relay::twiml::{ConversationRelay, Verb, render_response};

/// Checks a file of assets: `serverConfig.json` if it has the name of one of its sections, else a manifest and a context.
///
/// - It is used or refused with an error of one line.
/// - The TwiML of calls that use it is well-formed.
pub fn check_asset(text: &[u8]) {
    let text = String::from_utf8_lossy(text);
    for name in ["serverConfig.json", "defaultToolManifest.json", "defaultContext.md"] {
        match Assets::from_files(&[(name, text.clone().into_owned())]) {
            Ok(assets) => check_twiml(&assets),
            Err(errors) => {
                for error in &errors.0 {
                    let error = error.to_string();
                    assert!(!error.is_empty() && !error.contains('\n'), "{error:?}");
                }
            }
        }
    }
}

fn check_twiml(assets: &Assets) {
    let server = &assets.library.server;
    let relay = ConversationRelay {
        url: "wss://voice.example.com/conversation-relay".to_owned(),
        attributes: server.relay_attributes(Some("Acme")),
        languages: server.languages.clone(),
        parameters: server.parameters.clone(),
    };
    let action = "https://voice.example.com/connectAction".to_owned();
    let document = render_response(&[
        Verb::Connect { action, relay },
        Verb::Say { language: None, text: server.messages.no_agent.clone() },
    ]);
    let mut reader = Reader::from_str(&document);
    loop {
        match reader.read_event().unwrap_or_else(|error| panic!("{error} in {document}")) {
            Event::Eof => return,
            Event::Start(element) | Event::Empty(element) => {
                for attribute in element.attributes() {
                    attribute.unwrap_or_else(|error| panic!("{error} in {document}"));
                }
            }
            _ => {}
        }
    }
}
