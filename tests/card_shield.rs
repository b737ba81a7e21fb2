//! Card numbers are typed, spoken and misplaced in every way into the real server; then every byte that left it is searched.
//!
//! A few dozen of them by default; `CRELAY_LONG=1` plants two thousand, and `CRELAY_SEED` chooses others.

#![expect(clippy::unwrap_used, reason = "a test that cannot do its work fails")]

mod binary;
#[expect(dead_code, reason = "other tests use more of it")]
mod server;

use binary::Binary;
use crelay_payments::config::Vars;
use crelay_payments::redact::CUT;
use crelay_payments::simulator::{Dice, Planted, search};
use serde_json::json;
use server::Socket;
use server::openai::Reply;

/// Ways to misplace a card number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Spoken,
    SpokenInParts,
    SpokenOverTheAgent,
    SpokenDuringACapture,
    KeyedOutsideACapture,
    KeyedInParts,
    KeyedDuringACapture,
    CustomParameter,
    OutboundCall,
    OperatorsMistake,
    Chat,
    ChatInParts,
    ModelOutput,
    ModelOutputInAChat,
    Message,
    Tones,
    Amount,
    ToolName,
    HandOff,
    Callback,
    BadFrame,
}

const WAYS: &[Way] = &[
    Way::Spoken,
    Way::SpokenInParts,
    Way::SpokenOverTheAgent,
    Way::SpokenDuringACapture,
    Way::KeyedOutsideACapture,
    Way::KeyedInParts,
    Way::KeyedDuringACapture,
    Way::CustomParameter,
    Way::OutboundCall,
    Way::OperatorsMistake,
    Way::Chat,
    Way::ChatInParts,
    Way::ModelOutput,
    Way::ModelOutputInAChat,
    Way::Message,
    Way::Tones,
    Way::Amount,
    Way::ToolName,
    Way::HandOff,
    Way::Callback,
    Way::BadFrame,
];

/// Card numbers per search.
const BATCH: usize = 42;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_card_number_leaves_the_server_wherever_it_is_put() {
    let binary = Binary::start().await;
    let vars = Vars::from_process();
    let batches = if vars.get("CRELAY_LONG").is_some() { 50 } else { 1 };
    let mut dice = Dice::new(vars.get("CRELAY_SEED").map_or(1, |seed| seed.parse().unwrap()));
    for batch in 0..batches {
        let mut planted = Vec::new();
        for case in 0..BATCH {
            let case = batch * BATCH + case;
            let way = WAYS[case % WAYS.len()];
            planted.push(plant(&binary, way, case, &mut dice).await);
        }
        let evidence = binary.take_evidence();
        let places = [
            "a request to the model",
            "a request to Twilio",
            "the log",
            "a socket frame",
            "an answer to the operator",
            "an answer to Twilio",
        ];
        for place in places {
            let bytes: usize = evidence.iter().filter(|it| it.place == place).map(|it| it.bytes.len()).sum();
            assert!(bytes > 100, "{place}: nothing was there to search");
        }
        let found = search(&evidence, &planted);
        assert!(found.is_empty(), "batch {batch}: {}", found.join("\n"));
    }
}

/// Misplaces a card number, and lets the conversation go on so that whatever was kept shows.
async fn plant(binary: &Binary, way: Way, case: usize, dice: &mut Dice) -> Planted {
    let call = format!("CA{case}");
    println!("{case}: {way:?}");
    let planted = match way {
        Way::SpokenInParts | Way::ChatInParts => Planted::in_parts(dice),
        Way::KeyedOutsideACapture
        | Way::KeyedDuringACapture
        | Way::KeyedInParts
        | Way::Tones
        | Way::Amount
        | Way::ToolName
        | Way::Callback => Planted::typed(dice),
        _ => Planted::whole(dice),
    };
    let (number, text) = (planted.number.as_str(), planted.parts[0].as_str());
    match way {
        Way::CustomParameter => {
            let mut socket = binary.server.connects(&call, &json!({"note": text, number: "x", "list": [number]})).await;
            goes_on(binary, &mut socket, true).await;
        }
        Way::OutboundCall => {
            let nested = json!({"deep": [{"note": text}]});
            for properties in [json!({"note": text}), json!({number: 1}), json!({"note": nested}), json!({"n": number})]
            {
                let mut properties = properties;
                properties["phoneNumber"] = json!("+15550100001");
                let answer = binary.operator_posts("/outboundCall", &json!({"properties": properties})).await;
                assert!(answer.contains("card"), "{answer}");
            }
            let order = json!({"properties": {"phoneNumber": "+15550100001", "callReference": call}});
            assert!(binary.operator_posts("/outboundCall", &order).await.contains("callSid"));
            return planted;
        }
        Way::OperatorsMistake => {
            for body in [json!({text: 1}), json!({"message": "Hi", "role": text}), json!({"properties": number})] {
                for path in ["/outboundCall", "/conversation", "/updateResponseService"] {
                    assert!(binary.operator_posts(path, &body).await.contains("error"));
                }
            }
            return planted;
        }
        Way::Chat | Way::ChatInParts | Way::ModelOutputInAChat => {
            chats(binary, way, &planted, dice).await;
            return planted;
        }
        _ => {
            let mut socket = binary.server.connects(&call, &json!({})).await;
            misplaces(binary, &mut socket, &call, way, &planted, dice).await;
        }
    }
    binary.twilio_posts("/connectAction", &[("CallSid", &call), ("CallStatus", "completed")]).await;
    binary.server.has_calls(0).await;
    planted
}

/// What is said in a call.
async fn misplaces(binary: &Binary, socket: &mut Socket, call: &str, way: Way, planted: &Planted, dice: &mut Dice) {
    let (number, text) = (planted.number.as_str(), planted.parts[0].as_str());
    match way {
        Way::Spoken => {
            binary.sends(socket, &json!({"type": "prompt", "voicePrompt": text, "last": false})).await;
            says(binary, socket, text).await;
            goes_on(binary, socket, true).await;
        }
        Way::SpokenInParts => {
            for part in &planted.parts {
                says(binary, socket, part).await;
            }
            goes_on(binary, socket, true).await;
            for part in &planted.parts {
                let stands = binary.openai.shown().contains(&serde_json::to_string(part).unwrap());
                assert!(!stands, "{part:?} of {:?} stands in {}", planted.parts, binary.openai.shown());
            }
        }
        Way::SpokenOverTheAgent => {
            says(binary, socket, "Hello").await;
            let played = json!({"type": "info", "name": "tokensPlayed", "value": text});
            let interrupt =
                json!({"type": "interrupt", "utteranceUntilInterrupt": text, "durationUntilInterruptMs": 9});
            binary.sends(socket, &played).await;
            binary.sends(socket, &interrupt).await;
            goes_on(binary, socket, false).await;
        }
        Way::KeyedOutsideACapture => {
            binary.openai.will(Reply::Says("Mm-hm."));
            binary.presses(socket, &format!("{number}#")).await;
            binary.hears(socket).await;
            goes_on(binary, socket, true).await;
        }
        Way::KeyedInParts => {
            let (first, second) = number.split_at(number.len() / 2);
            for part in [first, second] {
                binary.openai.will(Reply::Says("Mm-hm."));
                binary.presses(socket, &format!("{part}#")).await;
                binary.hears(socket).await;
            }
            goes_on(binary, socket, true).await;
            assert!(!binary.openai.shown().contains(first), "{}", binary.openai.shown());
        }
        Way::SpokenDuringACapture | Way::KeyedDuringACapture | Way::Callback => {
            during_a_capture(binary, socket, call, way, planted).await;
        }
        Way::HandOff => hands_off(binary, socket, call, text).await,
        Way::ModelOutput => {
            let tokens = dice.pieces(&format!("You said {text} to me."));
            binary.says(socket, "What did I say?", Reply::Streams(tokens)).await;
            goes_on(binary, socket, true).await;
        }
        Way::Message | Way::Tones | Way::Amount | Way::ToolName => in_a_tool(binary, socket, way, planted).await,
        Way::BadFrame => {
            for frame in
                [json!({"type": text, "a": number}), json!({"type": "error", "description": text}), json!(text)]
            {
                binary.sends(socket, &frame).await;
            }
            binary.sends(socket, &json!({"type": "prompt", "voicePrompt": [text]})).await;
            goes_on(binary, socket, false).await;
        }
        _ => {}
    }
}

/// The model puts it into the arguments of a tool.
async fn in_a_tool(binary: &Binary, socket: &mut Socket, way: Way, planted: &Planted) {
    let (number, text) = (planted.number.as_str(), planted.parts[0].as_str());
    match way {
        Way::Message => calls(binary, socket, "send-sms", &json!({"to": "+15550100009", "message": text})).await,
        Way::Tones => {
            let tones: String = number.chars().flat_map(|digit| [digit, 'w']).collect();
            calls(binary, socket, "send-dtmf", &json!({"digits": tones})).await;
            calls(binary, socket, "send-dtmf", &json!({"digits": number})).await;
        }
        Way::Amount => {
            let arguments = format!(r#"{{"chargeAmount": {number}, "callSid": "{number}"}}"#);
            binary.openai.will(Reply::Invents("start-capture".to_owned(), arguments));
            binary.says(socket, "I want to pay.", Reply::Says("Hm.")).await;
            goes_on(binary, socket, false).await;
        }
        _ => calls(binary, socket, number, &json!({number: number})).await,
    }
}

async fn says(binary: &Binary, socket: &mut Socket, words: &str) {
    let reply = binary.says(socket, words, Reply::Says("Mm-hm, go on.")).await;
    assert_eq!(reply, "Mm-hm, go on.");
}

/// One more turn: it shows the model all that was kept.
async fn goes_on(binary: &Binary, socket: &mut Socket, was_cut: bool) {
    says(binary, socket, "And now?").await;
    assert!(!was_cut || binary.openai.shown().contains(CUT), "nothing was cut: {}", binary.openai.shown());
}

/// The model calls a tool.
async fn calls(binary: &Binary, socket: &mut Socket, name: &str, arguments: &serde_json::Value) {
    binary.openai.will(Reply::Invents(name.to_owned(), arguments.to_string()));
    binary.says(socket, "Do it.", Reply::Says("Hm.")).await;
    goes_on(binary, socket, true).await;
}

/// While the caller is to enter a card.
async fn during_a_capture(binary: &Binary, socket: &mut Socket, call: &str, way: Way, planted: &Planted) {
    binary.openai.will(Reply::Calls("start-capture", "{}"));
    binary.openai.will(Reply::Calls("capture-card", "{}"));
    assert_eq!(binary.says(socket, "I want to pay.", Reply::Says("Go ahead.")).await, "Go ahead.");
    match way {
        Way::SpokenDuringACapture => says(binary, socket, &planted.parts[0]).await,
        Way::KeyedDuringACapture => binary.presses(socket, &planted.number).await,
        _ => reports_unmasked(binary, socket, call, &planted.number).await,
    }
    goes_on(binary, socket, way == Way::SpokenDuringACapture).await;
}

/// Twilio should mask what it reports; here it masks nothing, and uses the number for every word that it has.
async fn reports_unmasked(binary: &Binary, socket: &mut Socket, call: &str, number: &str) {
    let payment = binary.payment();
    let common = [("CallSid", call), ("Sid", &payment), ("PaymentCardNumber", number), ("SecurityCode", number)];
    let reports = async |more: &[(&str, &str)]| {
        binary.twilio_posts("/payment-status-callback", &[&common[..], more].concat()).await;
    };
    reports(&[("Capture", "payment-card-number"), ("PartialResult", "true"), ("BankAccountNumber", number)]).await;
    reports(&[("Capture", number), ("Required", number), ("PaymentCardType", number), ("ChargeAmount", number)]).await;
    reports(&[("Capture", "postal-code"), ("PaymentCardPostalCode", number), ("ExpirationDate", number)]).await;
    binary.openai.will(Reply::Says("Sorry."));
    reports(&[("Capture", "payment-card-number"), ("PartialResult", "false"), ("ErrorType", number)]).await;
    assert_eq!(binary.hears(socket).await, "Sorry.");
    binary.openai.will(Reply::Says("It did not work."));
    reports(&[("Result", number), ("PayErrorCode", number), ("PaymentToken", number), ("PaymentError", number)]).await;
    assert_eq!(binary.hears(socket).await, "It did not work.");
}

/// The model writes a card number down for whoever takes over, and so does a stranger.
async fn hands_off(binary: &Binary, socket: &mut Socket, call: &str, text: &str) {
    let arguments = json!({"reason": text, "conversationSummary": text}).to_string();
    binary.openai.will(Reply::Invents("live-agent-handoff".to_owned(), arguments));
    binary.says(socket, "I want a person.", Reply::Says("One moment.")).await;
    binary.sends(socket, &json!({"type": "info", "name": "agentSpeaking", "value": "on"})).await;
    binary.sends(socket, &json!({"type": "info", "name": "agentSpeaking", "value": "off"})).await;
    let data = binary.is_handed_off(socket).await;
    assert!(data.contains(CUT), "{data}");
    for data in [data, text.to_owned(), json!({"summary": [text]}).to_string()] {
        let form = [("CallSid", call), ("CallStatus", "in-progress"), ("HandoffData", &data)];
        assert!(binary.twilio_posts("/connectAction", &form).await.contains("<Task>"));
    }
}

async fn chats(binary: &Binary, way: Way, planted: &Planted, dice: &mut Dice) {
    let mut session = serde_json::Value::Null;
    let mut says = async |message: &str, role: &str, reply: Reply| {
        binary.openai.will(reply);
        let said = match &session {
            serde_json::Value::Null => json!({"message": message, "role": role}),
            session => json!({"message": message, "role": role, "sessionId": session}),
        };
        let answer = binary.operator_posts("/conversation", &said).await;
        session = serde_json::from_str::<serde_json::Value>(&answer).unwrap()["sessionId"].clone();
    };
    match way {
        Way::ModelOutputInAChat => {
            let text = format!("You said {} to me.", planted.parts[0]);
            says("What did I say?", "user", Reply::Streams(dice.pieces(&text))).await;
            let arguments = json!({"summary": text}).to_string();
            binary.openai.will(Reply::Invents("live-agent-handoff".to_owned(), arguments));
            says("I want a person.", "user", Reply::Says("Call us.")).await;
        }
        _ => {
            for part in &planted.parts {
                says(part, dice.pick(&["user", "system"]), Reply::Says("Mm-hm.")).await;
            }
        }
    }
    says("And now?", "user", Reply::Says("Well.")).await;
    let shown = binary.openai.shown();
    assert!(shown.contains(CUT), "nothing was cut: {shown}");
}
