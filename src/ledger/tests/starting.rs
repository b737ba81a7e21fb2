//! The file, its lock, and what a server that died left open.

use std::os::unix::fs::PermissionsExt as _;

use super::*;

#[tokio::test]
async fn a_ledger_is_for_one_user_and_one_server() {
    let mut desk = Desk::new().await;
    desk.opened("25", "PK1").await;
    let second = Ledger::open(&desk.directory.file()).await.unwrap_err();
    assert!(matches!(second, NotOpen::InUse(_)) && second.to_string().contains("DATABASE_URL"), "{second}");
    for file in std::fs::read_dir(&desk.directory.0).unwrap() {
        let file = file.unwrap();
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", file.file_name());
    }
    let visitor = Ledger::visit(&desk.directory.file()).await.unwrap();
    let all = Filter { since: None, state: None, after: None, limit: 9 };
    assert_eq!(visitor.payments(&all).await.unwrap().len(), 1);
    visitor.close().await;
    desk.restarted().await;
}

#[tokio::test]
async fn a_visitor_makes_no_ledger() {
    let directory = Directory::new();
    assert!(matches!(Ledger::visit(&directory.file()).await, Err(NotOpen::Missing(_))));
    assert!(!directory.0.exists());
}

#[tokio::test]
async fn what_a_server_that_died_left_open_is_found_and_what_it_submitted_is_unknown() {
    let mut desk = Desk::new().await;
    let submitted = desk.submitted("25", "PK1").await;
    desk.call = call("CA2");
    let nameless = desk.opening("26").await.unwrap();
    desk.call = call("CA3");
    let open = desk.opened("27", "PK3").await;
    let cancel = update(open, "PK3", Change::Cancel, 1);
    desk.ledger.asking(&desk.call, &cancel).await.unwrap();

    let mut desk = desk.restarted().await;
    let left = desk.ledger.take_stock().await.unwrap();
    assert_eq!(desk.state(submitted).await, State::Unknown);
    assert_eq!(desk.ledger.count(State::Unknown).await.unwrap(), 1);
    let [one, other] = &left[..] else { panic!("{left:?}") };
    let (one, other) = if one.sid.is_none() { (one, other) } else { (other, one) };
    assert_eq!(
        one.create(&crate::payment::Settings::sample()).unwrap(),
        nameless,
        "the same request, with the same key"
    );
    assert_eq!(other.cancel("PK3".parse().unwrap()), cancel);

    assert!(matches!(desk.opening("1").await, Err(Refused::Recovering)), "its call has to wait");
    desk.ledger.put_away(other).await.unwrap();
    desk.ledger.recovered(&desk.call.sid).await;
    assert_eq!((desk.state(open).await, desk.state(nameless.id).await), (State::Abandoned, State::Opened));
    assert!(desk.opening("1").await.is_ok());
}

#[tokio::test]
async fn payments_are_paged_by_the_last_one_seen() {
    let mut desk = Desk::new().await;
    let mut made = Vec::new();
    for n in 0..5 {
        desk.call = call(&format!("CA{n}"));
        made.push(desk.opening("25").await.unwrap().id);
    }
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = desk.ledger.payments(&Filter { since: None, state: None, after, limit: 2 }).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.id);
        seen.extend(page.iter().map(|payment| payment.id));
    }
    assert_eq!(seen, made);
    let later = Some(Timestamp::now() + jiff::SignedDuration::from_secs(1));
    let none = Filter { since: later, state: None, after: None, limit: 9 };
    assert!(desk.ledger.payments(&none).await.unwrap().is_empty());
    let charged = Filter { since: None, state: Some(State::Charged), after: None, limit: 9 };
    assert!(desk.ledger.payments(&charged).await.unwrap().is_empty());
}

#[tokio::test]
async fn what_is_asked_for_once_more_says_the_same_as_the_first_time_whatever_is_configured_since() {
    let of_call = |said: &[(&str, &str)]| -> std::collections::BTreeMap<String, String> {
        said.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    let mut later = Settings::sample();
    later.options.description = "Our new shop".parse().ok();
    for said in [
        &[][..],
        &[("description", "Invoice 7"), ("callReference", "call-7"), ("orderReference", "order-7")],
        &[("callReference", "call-7")],
        &[("orderReference", "4242 4242 4242 4242 and so on")],
    ] {
        let mut desk = Desk::new().await;
        desk.terms = Arc::new(Settings::sample().terms(&of_call(said)).unwrap());
        let setup = serde_json::json!({"type": "setup", "callSid": "CA1", "customParameters": of_call(said)});
        let Ok(crate::relay::Incoming::Setup(setup)) = crate::relay::Incoming::parse(&setup.to_string()) else {
            panic!()
        };
        desk.call = OnCall::new(&setup);
        let first = desk.opening("25").await.unwrap();
        let desk = desk.restarted().await;
        let left = desk.ledger.take_stock().await.unwrap();
        let again = left[0].create(&later).unwrap();
        let sent = |create: &Create| (create.key.clone(), create.terms.description(create.id));
        assert_eq!(sent(&again), sent(&first), "{said:?}");
        assert!(sent(&again).1.ends_with(&first.id.to_string()));
    }
}
