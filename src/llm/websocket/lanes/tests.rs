//! Tests of the routing of events.

use futures_util::FutureExt as _;
use proptest::prelude::*;

use super::*;

fn open() -> (Arc<Mutex<Lanes>>, mpsc::Receiver<Message>) {
    let (lanes, requests) = Lanes::new();
    (Arc::new(Mutex::new(lanes)), requests)
}

/// A lane whose request is sent.
fn begin(lanes: &Arc<Mutex<Lanes>>) -> Lane {
    let lane = Lane::begin(lanes).unwrap();
    lane.send("{}".to_owned()).unwrap();
    lane
}

fn event(lane: &str, kind: &str) -> Utf8Bytes {
    format!(r#"{{"type":"{kind}","stream_id":"{lane}"}}"#).into()
}

fn route(lanes: &Arc<Mutex<Lanes>>, event: impl Into<Utf8Bytes>) -> Result<(), SocketEnd> {
    lock(lanes).route(event.into())
}

/// What the lane has now: an event, the reason of its end, or nothing.
fn read(lane: &mut Lane) -> String {
    match lane.next().now_or_never() {
        Some(Ok(event)) => event.to_string(),
        Some(Err(error)) => error.to_string(),
        None => "nothing".to_owned(),
    }
}

fn is_closed(requests: &mut mpsc::Receiver<Message>) -> bool {
    while requests.try_recv().is_ok() {}
    requests.is_closed()
}

#[test]
fn each_lane_gets_its_events() {
    let (lanes, _requests) = open();
    let (mut one, mut two) = (begin(&lanes), begin(&lanes));
    assert_ne!(one.stream_id(), two.stream_id());
    route(&lanes, event(&two.stream_id(), "response.created")).unwrap();
    route(&lanes, event("lane-99", "response.created")).unwrap();
    assert_eq!(read(&mut one), "nothing");
    assert_eq!(read(&mut two), event(&two.stream_id(), "response.created").as_str());
    route(&lanes, event(&one.stream_id(), "response.completed")).unwrap();
    assert_eq!(read(&mut one), event(&one.stream_id(), "response.completed").as_str());
    assert_eq!(read(&mut one), "the WebSocket was closed", "nothing follows the end");
}

#[test]
fn an_event_without_a_lane_reaches_nobody() {
    for text in
        [r#"{"type":"response.output_text.delta","delta":"hi"}"#, r#"{"type":"response.created","stream_id":"a"}"#]
    {
        let (lanes, mut requests) = open();
        let mut lane = begin(&lanes);
        let end = route(&lanes, text).unwrap_err();
        assert_eq!(end, SocketEnd::NoLanes);
        lock(&lanes).close(end);
        assert_eq!(read(&mut lane), "the WebSocket was closed");
        assert!(is_closed(&mut requests));
    }
    for text in ["", "[1]", r#"{"type":"keepalive"}"#, r#"{"type":7}"#] {
        let (lanes, _requests) = open();
        let mut lane = begin(&lanes);
        route(&lanes, text).unwrap();
        assert_eq!(read(&mut lane), "nothing", "{text}");
    }
}

#[test]
fn a_socket_with_two_dead_lanes_gets_no_new_ones_and_closes_after_its_last_one() {
    let (lanes, mut requests) = open();
    let mut live = begin(&lanes);
    let dead = begin(&lanes);
    let ended = dead.stream_id();
    drop(dead);
    route(&lanes, event(&ended, "response.output_text.delta")).unwrap();
    route(&lanes, event(&ended, "response.completed")).unwrap();
    // That one has ended: these are one and two.
    drop(begin(&lanes));
    assert!(lock(&lanes).has_room());
    drop(begin(&lanes));
    assert!(!lock(&lanes).has_room() && Lane::begin(&lanes).is_err());
    assert!(!is_closed(&mut requests));
    route(&lanes, event(&live.stream_id(), "response.completed")).unwrap();
    assert!(is_closed(&mut requests));
    assert!(read(&mut live).contains("response.completed"));
}

#[test]
fn a_lane_without_a_request_or_after_its_end_leaves_nothing_behind() {
    let (lanes, _requests) = open();
    for _ in 0..3 {
        drop(Lane::begin(&lanes).unwrap());
        let lane = begin(&lanes);
        route(&lanes, event(&lane.stream_id(), "response.failed")).unwrap();
        drop(lane);
    }
    assert!(lock(&lanes).has_room());
}

#[test]
fn the_number_of_lanes_is_limited() {
    let (lanes, _requests) = open();
    let mut live: Vec<_> = (0..MAX_LANES).map(|_| begin(&lanes)).collect();
    assert!(Lane::begin(&lanes).is_err());
    live.pop();
    assert!(Lane::begin(&lanes).is_ok());
}

#[test]
fn an_error_without_a_lane_is_that_of_the_only_response() {
    let error = r#"{"type":"error","status":400,"error":{"code":"x"}}"#;
    let (lanes, _requests) = open();
    let mut lane = begin(&lanes);
    route(&lanes, error).unwrap();
    assert_eq!(read(&mut lane), error);

    let (mut speaking, mut one, mut two) = (begin(&lanes), begin(&lanes), begin(&lanes));
    route(&lanes, event(&speaking.stream_id(), "response.created")).unwrap();
    route(&lanes, error).unwrap();
    assert!(read(&mut speaking).contains("created"));
    assert_eq!(
        [read(&mut speaking), read(&mut one), read(&mut two)],
        ["nothing", "the WebSocket was closed", "the WebSocket was closed"]
    );
}

#[test]
fn the_age_limit_ends_what_has_not_begun_and_the_socket_gets_no_new_lanes() {
    for limit in [
        r#"{"type":"error","status":400,"error":{"code":"websocket_connection_limit_reached"}}"#,
        r#"{"type":"error","code":"websocket_connection_limit_reached","message":"x","param":null}"#,
    ] {
        let (lanes, mut requests) = open();
        let (mut speaking, mut one, mut two) = (begin(&lanes), begin(&lanes), begin(&lanes));
        route(&lanes, event(&speaking.stream_id(), "response.created")).unwrap();
        route(&lanes, limit).unwrap();
        assert_eq!([read(&mut one), read(&mut two)], [limit, limit]);
        assert!(read(&mut speaking).contains("created") && read(&mut speaking) == "nothing");
        assert!(!lock(&lanes).has_room());
        drop(speaking);
        assert!(is_closed(&mut requests));
    }
}

#[test]
fn the_largest_request_that_waits_is_the_one_that_is_too_large() {
    let (lanes, _requests) = open();
    let (mut speaking, small, large) =
        (Lane::begin(&lanes).unwrap(), Lane::begin(&lanes).unwrap(), Lane::begin(&lanes).unwrap());
    for (lane, size) in [(&speaking, 30), (&small, 10), (&large, 20)] {
        lane.send("x".repeat(size)).unwrap();
    }
    route(&lanes, event(&speaking.stream_id(), "response.created")).unwrap();
    assert!(read(&mut speaking).contains("created"));
    lock(&lanes).close(SocketEnd::Closed(Some(1009)));
    let ends = [speaking, small, large].map(|mut lane| lane.peek().now_or_never().unwrap().unwrap_err());
    assert_eq!(ends, [LaneEnd::SocketClosed(Some(1009)), LaneEnd::SocketClosed(Some(1009)), LaneEnd::TooLarge]);
}

#[test]
fn what_waits_to_be_read_is_limited_and_the_other_lanes_go_on() {
    let many = vec![16; MAX_QUEUED_EVENTS + 1];
    let large = vec![MAX_QUEUED_BYTES / 4; 4];
    for sizes in [many, large] {
        let (lanes, _requests) = open();
        let (mut slow, mut other) = (begin(&lanes), begin(&lanes));
        let text = |size| format!(r#"{{"stream_id":"{}","type":"x","pad":"{}"}}"#, slow.stream_id(), "x".repeat(size));
        let texts: Vec<_> = sizes.into_iter().map(text).collect();
        let count = texts.len();
        for text in texts {
            route(&lanes, text).unwrap();
        }
        for _ in 1..count {
            assert!(read(&mut slow).contains("pad"));
        }
        assert_eq!(read(&mut slow), "too much of the response waits to be read");
        route(&lanes, event(&other.stream_id(), "response.created")).unwrap();
        assert!(read(&mut other).contains("created"));
    }
}

#[test]
fn a_socket_that_is_flooded_with_what_nobody_reads_gets_no_new_lanes() {
    let pad = "x".repeat(64 * 1024);
    for text in [
        format!(r#"{{"stream_id":"lane-1","type":"x","pad":"{pad}"}}"#),
        format!(r#"{{"type":"keepalive","pad":"{pad}"}}"#),
        pad,
    ] {
        let (lanes, mut requests) = open();
        drop(begin(&lanes));
        let count = (0..MAX_IGNORED_BYTES)
            .take_while(|_| route(&lanes, text.clone()).is_ok() && lock(&lanes).has_room())
            .count();
        assert_eq!(count, MAX_IGNORED_BYTES / text.len());
        assert!(is_closed(&mut requests));
    }
}

#[test]
fn events_that_are_read_make_room() {
    let (lanes, _requests) = open();
    let mut lane = begin(&lanes);
    for _ in 0..2 * MAX_QUEUED_EVENTS {
        let text = format!(r#"{{"stream_id":"{}","type":"x","pad":"{}"}}"#, lane.stream_id(), "x".repeat(2048));
        route(&lanes, text).unwrap();
        assert!(read(&mut lane).contains("pad"));
    }
}

#[test]
fn the_requested_wait_is_in_the_headers_of_an_error() {
    for (headers, wait) in [
        (r#"{"retry-after-ms":"150","retry-after":"2"}"#, Some(150)),
        (r#"{"retry-after":2}"#, Some(2000)),
        (r#"{"retry-after":"soon"}"#, None),
        ("null", None),
    ] {
        let error = format!(r#"{{"type":"error","error":{{"headers":{headers}}}}}"#);
        assert_eq!(retry_after(&error), wait.map(Duration::from_millis), "{headers}");
    }
}

proptest! {
    #[test]
    fn no_message_panics_or_reaches_a_lane_that_it_does_not_name(
        kind in "response\\.(created|completed)|error|\\PC{0,8}",
        lane in prop_oneof![Just("lane-1".to_owned()), "lane-[+0]{0,2}[0-9]{1,30}", "\\PC{0,8}"],
        rest in "\\PC{0,40}",
    ) {
        for text in [rest.clone(), serde_json::json!({"type": kind, "stream_id": lane, "rest": rest}).to_string()] {
            let (lanes, _requests) = open();
            let (mut one, mut two) = (begin(&lanes), begin(&lanes));
            let is_routed = route(&lanes, text.clone()).is_ok();
            let heard = [read(&mut one), read(&mut two)];
            let is_named = |id: &str| is_routed && lane == id && text.contains(id);
            prop_assert!(heard[0] != text || is_named("lane-1"));
            prop_assert!(heard[1] != text || is_named("lane-2"));
        }
    }
}
