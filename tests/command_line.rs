//! The output and the exit codes of the binary.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

const REQUIRED_VARS: &[(&str, &str)] = &[
    ("SERVER_BASE_URL", "pay.example.com"),
    ("OPENAI_API_KEY", "sk-test"),
    ("ACCOUNT_SID", "AC1"),
    ("AUTH_TOKEN", "auth-token-of-tests"),
    ("FROM_NUMBER", "+15550100002"),
    ("PAYMENT_CONNECTOR", "Default"),
];

/// The binary in its own new directory with an empty environment.
fn binary(name: &str) -> Command {
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    // A ledger of an earlier run may be a copy by now, if the target directory was copied.
    let _ = std::fs::remove_dir_all(&directory);
    std::fs::create_dir_all(&directory).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_crelay-payments"));
    command.env_clear().current_dir(directory);
    command
}

fn printed(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn without_configuration_all_missing_variables_are_listed() {
    let output = binary("bare").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let printed = printed(&output);
    assert_eq!(printed.contains("crelay-payments simulate"), cfg!(feature = "simulator"), "{printed}");
    for part in REQUIRED_VARS.iter().map(|(name, _)| *name) {
        assert!(printed.contains(part), "{part} in {printed}");
    }
}

#[cfg(feature = "simulator")]
#[test]
fn simulate_needs_no_configuration() {
    let output = binary("simulate").args(["simulate"]).output().unwrap();
    let printed = printed(&output);
    assert_eq!(output.status.code(), Some(0), "{printed}");
    assert!(printed.contains("start-capture") && !printed.contains("42424242"), "{printed}");
}

#[cfg(feature = "simulator")]
#[test]
fn simulate_says_what_to_do_without_a_temporary_directory_or_a_recording() {
    for (arguments, directory, advice) in [
        (&["simulate"][..], "/nonexistent", "set TMPDIR to a directory that can be written"),
        (&["simulate", "--replay", "/dev/zero"], "/tmp", "give a file that `observe` has written"),
        (&["simulate", "--replay", "/proc/self/exe"], "/tmp", "give a file that `observe` has written"),
    ] {
        let output = binary("advice").args(arguments).env("TMPDIR", directory).output().unwrap();
        let printed = printed(&output);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {printed}");
        assert!(printed.contains(advice) && !printed.contains("panicked"), "{arguments:?}: {printed}");
    }
}

#[cfg(not(feature = "simulator"))]
#[test]
fn the_shipped_binary_neither_simulates_nor_proves() {
    let help = printed(&binary("shipped").arg("--help").output().unwrap());
    for command in ["simulate", "prove"] {
        assert!(!help.contains(command), "{help}");
        let output = binary("shipped").arg(command).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        assert!(printed(&output).contains("unrecognized subcommand"), "{}", printed(&output));
    }
}

#[cfg(feature = "simulator")]
#[test]
fn simulate_lists_the_calls_and_refuses_unknown_ones() {
    let list = printed(&binary("list").args(["simulate", "--list"]).output().unwrap());
    assert!(list.lines().count() > 11 && list.contains("hand-off"), "{list}");
    let output = binary("list").args(["simulate", "no-such-call"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(printed(&output).contains("--list"));
}

#[cfg(feature = "simulator")]
#[test]
fn a_reader_that_leaves_ends_a_command_quietly() {
    for arguments in
        [&["simulate", "--list"][..], &["simulate", "happy-path"], &["help"], &["simulate", "no-such-call"]]
    {
        let mut command = binary("closed-pipe");
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output =
            command.args(arguments).stdout(writer.try_clone().unwrap()).stderr(Stdio::piped()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!said.contains("panicked"), "{arguments:?}: {said}");
        let status = binary("closed-pipe").args(arguments).stdout(Stdio::null()).stderr(writer).status().unwrap();
        assert!(status.code().is_some_and(|code| code <= 2), "{arguments:?}: {status}");
    }
}

#[test]
fn a_manifest_with_an_unknown_tool_is_refused_with_file_and_line() {
    let mut command = binary("manifest");
    let assets = command.get_current_dir().unwrap().join("assets");
    std::fs::create_dir_all(&assets).unwrap();
    let manifest =
        "[\n  {\"type\": \"function\",\n   \"name\": \"refund\", \"description\": \"\", \"parameters\": {}}\n]";
    std::fs::write(assets.join("PaymentToolManifest.json"), manifest).unwrap();
    let output = command.envs(REQUIRED_VARS.iter().copied()).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(printed(&output).contains("assets/PaymentToolManifest.json:3"), "{}", printed(&output));
}

#[test]
fn evidence_says_what_it_needs() {
    for (arguments, code, advice) in [
        (&["evidence"][..], 2, "<ID|SID>"),
        (&["evidence", "invoice 7"], 2, "the SID of a call (CA…)"),
        (&["evidence", "CA1", "--json", "--out", "x"], 2, "cannot be used with"),
        (&["evidence", "CA1", "--verify", "x"], 2, "cannot be used with"),
        (&["evidence", "CA1"], 1, "crelay-payments.db"),
        (&["evidence", "--verify", "x"], 1, "set PAYMENT_WEBHOOK_SECRET"),
    ] {
        let output = binary("evidence").args(arguments).output().unwrap();
        let printed = printed(&output);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {printed}");
        assert!(printed.contains(advice), "{arguments:?}: {printed}");
    }
    let mut command = binary("evidence-verify");
    command.args(["evidence", "--verify", "/dev/zero"]).env("PAYMENT_WEBHOOK_SECRET", "a-secret-of-the-tests");
    let output = command.output().unwrap();
    assert!(output.status.code() == Some(1) && printed(&output).contains("is not genuine"), "{}", printed(&output));
}

/// A process that is killed on drop.
struct KilledOnDrop(Child);

impl Drop for KilledOnDrop {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_busy_port_gives_way_with_a_warning_or_is_an_error() {
    let busy = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = busy.local_addr().unwrap().port().to_string();
    let command = || {
        let mut command = binary("port");
        command.envs(REQUIRED_VARS.iter().copied()).env("PORT", &port);
        command
    };
    let output = command().env("PORT_FALLBACK", "false").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(printed(&output).contains(&format!("port {port} is busy")), "{}", printed(&output));

    let mut running = KilledOnDrop(command().stderr(Stdio::piped()).spawn().unwrap());
    let lines = BufReader::new(running.0.stderr.take().unwrap()).lines().map_while(Result::ok);
    let mut warned = false;
    for line in lines {
        warned |= line.contains("server.port_busy")
            && line.contains(&format!("port={port} "))
            && line.contains("listening_on=");
        if line.contains("server.voice_webhook") && line.contains("https://pay.example.com/connectConversationRelay") {
            assert!(warned);
            return;
        }
    }
    panic!("the server did not listen");
}
