//! Consistency of the deployment files: fly.toml and Dockerfile.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

/// The time in seconds that a server may need to end its last calls after `DRAIN_SECONDS`.
const CLOSING_SECONDS: u32 = 5;

/// The number on the line of fly.toml that starts with `name`.
fn fly(name: &str) -> u32 {
    let line = include_str!("../fly.toml").lines().find_map(|line| line.trim().strip_prefix(name));
    line.unwrap().trim_matches(|c: char| !c.is_ascii_digit()).parse().unwrap()
}

#[test]
fn fly_kills_no_machine_before_its_calls_have_drained() {
    assert!(fly("DRAIN_SECONDS = ") + CLOSING_SECONDS <= fly("kill_timeout = "));
}

#[test]
fn fly_and_the_image_use_the_default_port() {
    assert_eq!(fly("internal_port = "), 3001);
    assert!(include_str!("../Dockerfile").contains("EXPOSE 3001\n"));
}

#[test]
fn the_ledger_is_on_the_volume() {
    let mounted = include_str!("../fly.toml").contains("destination = \"/data\"");
    let image = include_str!("../Dockerfile");
    assert!(mounted && image.contains("VOLUME /data\n") && image.contains("DATABASE_URL=sqlite:///data/"));
}
