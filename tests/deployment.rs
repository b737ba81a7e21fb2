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
fn fly_reads_the_metrics_where_they_are() {
    assert_eq!(fly("METRICS_PORT = "), fly("port = "));
}

#[test]
fn a_ledger_in_a_file_is_on_the_volume() {
    let mounted = include_str!("../fly.toml").contains("#   destination = \"/data\"");
    let image = include_str!("../Dockerfile");
    assert!(mounted && image.contains("VOLUME /data\n") && image.contains("DATABASE_URL=sqlite:///data/"));
}

#[test]
fn fly_replaces_one_of_two_machines_at_a_time() {
    assert_eq!((fly("min_machines_running = "), fly("max_unavailable = ")), (2, 1));
    assert!(include_str!("../fly.toml").contains("strategy = \"rolling\""));
}

#[test]
fn the_images_are_named_by_digest() {
    let images = include_str!("../Dockerfile").lines().filter_map(|line| line.strip_prefix("FROM "));
    let images: Vec<&str> = images.map(|line| line.split(' ').next().unwrap()).collect();
    let is_digest = |digest: &str| digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit());
    assert!(images.iter().all(|image| image.split_once("@sha256:").is_some_and(|(_, digest)| is_digest(digest))));
    assert_eq!(images.len(), 2);
}

#[test]
fn nothing_in_the_image_runs_as_root_or_in_a_shell() {
    let image = include_str!("../Dockerfile").split("\nFROM ").nth(2).unwrap();
    assert!(image.contains("\nUSER 65532:65532\n"));
    // A volume takes the owner of the directory in the image.
    assert!(image.contains("COPY --from=build --chown=65532:65532 --chmod=0700 /volume/data /data\n"));
    for line in image.lines() {
        assert!(!line.starts_with("RUN ") && !line.contains("/bin/sh") && !line.contains("setpriv"), "{line}");
        let command = line.trim().strip_prefix("CMD ").or(line.strip_prefix("ENTRYPOINT "));
        assert!(
            command.is_none_or(|command| command.starts_with('[')),
            "without brackets a shell would run it: {line}"
        );
    }
}
