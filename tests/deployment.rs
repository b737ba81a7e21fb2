//! What the files that deploy the server promise each other.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

/// How long a server may take to end its last calls once `DRAIN_SECONDS` are over.
const CLOSING_SECONDS: u32 = 40;

/// The number that a line of fly.toml gives a name.
fn fly(name: &str) -> u32 {
    let line = include_str!("../fly.toml").lines().find_map(|line| line.trim().strip_prefix(name));
    line.unwrap().trim_matches(|c: char| !c.is_ascii_digit()).parse().unwrap()
}

#[test]
fn fly_kills_no_machine_before_its_calls_have_drained() {
    assert!(fly("DRAIN_SECONDS = ") + CLOSING_SECONDS <= fly("kill_timeout = "));
}

#[test]
fn proxy_and_image_name_the_port_that_the_server_listens_on() {
    assert_eq!(fly("internal_port = "), 3001);
    assert!(include_str!("../Dockerfile").contains("EXPOSE 3001\n"));
}

#[test]
fn the_ledger_lies_on_the_volume() {
    let mounted = include_str!("../fly.toml").contains("destination = \"/data\"");
    let image = include_str!("../Dockerfile");
    assert!(mounted && image.contains("VOLUME /data\n") && image.contains("DATABASE_URL=sqlite:///data/"));
}
