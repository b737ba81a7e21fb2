//! Who answers for which requirement of PCI DSS 4.0.1 (12.8.5), as a draft for the operator: what the parties have agreed on
//! decides.

use serde::Serialize;

/// Who does what for a requirement. Empty: nothing.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Responsibility {
    /// The requirement, or several.
    pub requirement: &'static str,
    /// Twilio, and the speech providers that it uses.
    pub twilio: &'static str,
    /// The payment processor of the Pay connector.
    pub processor: &'static str,
    /// The operator, who is the merchant or works for one.
    pub operator: &'static str,
    /// This program.
    pub program: &'static str,
}

const PLATFORM: &str = "its platform";

/// The requirements in their order.
pub(super) const RESPONSIBILITIES: &[Responsibility] = &[
    Responsibility {
        requirement: "1.2.4 diagram of data flows",
        twilio: "",
        processor: "",
        operator: "keeps it current, and adds what no configuration shows: recordings, proxies, people who hear calls",
        program: "draws it from the configuration",
    },
    Responsibility {
        requirement: "1, 2 network and secure configuration",
        twilio: PLATFORM,
        processor: PLATFORM,
        operator: "host, network, account settings at Twilio (PCI mode) and at the processor",
        program: "safe defaults; refuses unsafe settings unless ALLOW_INSECURE names them",
    },
    Responsibility {
        requirement: "3.2, 3.3 no storage of account data, no security code after authorisation",
        twilio: "captures the keys, sends them to the processor, and keeps them no longer than it documents",
        processor: "stores what it needs, and tokens of cards",
        operator: "pauses recordings while a card is entered; keeps no numbers elsewhere",
        program: "gets no keys of a capture; removes card numbers that are said or misplaced; keeps the last four digits",
    },
    Responsibility {
        requirement: "3.4 masking on display",
        twilio: "masks the numbers in its callbacks",
        processor: "its dashboard",
        operator: "",
        program: "shows the last four digits at most",
    },
    Responsibility {
        requirement: "3.5 to 3.7 protection of stored card numbers, keys",
        twilio: PLATFORM,
        processor: "the vault behind its tokens",
        operator: "keeps SEALING_KEY and backups of the ledger",
        program: "stores no card number; seals undelivered tokens, and erases them once they are delivered",
    },
    Responsibility {
        requirement: "4.2 encryption in transit",
        twilio: "the telephone network up to its edge, and the way to the processor",
        processor: "its API",
        operator: "the certificate of the public address, and what ends TLS before this program",
        program: "https to Twilio, the model and the business; refuses public plain http unless ALLOW_INSECURE names it",
    },
    Responsibility {
        requirement: "5, 6 malware, secure software, updates",
        twilio: PLATFORM,
        processor: PLATFORM,
        operator: "the host; installs new versions of this program",
        program: "its source with tests; this report names the binary by its SHA-256",
    },
    Responsibility {
        requirement: "7, 8 access, identification, multi-factor authentication",
        twilio: "accounts and multi-factor authentication of its console",
        processor: "accounts and multi-factor authentication of its dashboard",
        operator: "who has which account and token; multi-factor authentication before the console of this program",
        program: "one token for each operator, with the name in the ledger and the log; it has no second factor",
    },
    Responsibility {
        requirement: "9 physical access",
        twilio: PLATFORM,
        processor: PLATFORM,
        operator: "the host, or its provider",
        program: "",
    },
    Responsibility {
        requirement: "10 logs",
        twilio: "logs of its API and console",
        processor: "logs of its API and dashboard",
        operator: "collects, protects and reviews the log; keeps it for a year",
        program: "a log and append-only events without card data; clocks are those of the host",
    },
    Responsibility {
        requirement: "11 scans and penetration tests",
        twilio: PLATFORM,
        processor: PLATFORM,
        operator: "scans and tests of the public address and of the host",
        program: "this test, repeatable with the same seed",
    },
    Responsibility {
        requirement: "12.5.2 scope, every year and after changes",
        twilio: "",
        processor: "",
        operator: "confirms it",
        program: "this report for the configuration of the day",
    },
    Responsibility {
        requirement: "12.8, 12.9 providers",
        twilio: "gives its attestation of compliance and its responsibility matrix",
        processor: "gives its attestation of compliance and its responsibility matrix",
        operator: "keeps the list, the agreements and the dates; asks every year",
        program: "lists the providers of the configuration",
    },
    Responsibility {
        requirement: "12.10 incidents",
        twilio: "reports its own",
        processor: "reports its own",
        operator: "has a plan, and acts on alerts",
        program: "alerts in the log; `evidence` for each payment",
    },
];
