//! Tests with the vectors of Twilio's helper libraries and others computed by the same algorithm, and the property that
//! a signature verifies for the signed request only.

use proptest::prelude::*;

use super::*;

const U: &str = "https://mycompany.com/myapp.php?foo=1&bar=2";
const P: [(&str, &str); 5] = [
    ("CallSid", "CA1234567890ABCDE"),
    ("Caller", "+14158675309"),
    ("Digits", "1234"),
    ("From", "+14158675309"),
    ("To", "+18005551212"),
];
const CONFERENCE: [(&str, &str); 7] = [
    ("To", "+18005551212"),
    ("ReasonConferenceEnded", "test"),
    ("Reason", "Participant"),
    ("From", "+14158675309"),
    ("Digits", "1234"),
    ("Caller", "+14158675309"),
    ("CallSid", "CA1234567890ABCDE"),
];
const JSON: &[u8] = br#"{"property": "value", "boolean": true}"#;
const JSON_HASH: &str = "0a1ff7634d9ab3b95db5c9a2dfe9416e41502b283a80c7cf19632632f96e6620";

fn signer() -> Signer {
    Signer::new(&SecretString::from("12345"))
}

fn form(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[track_caller]
fn signs(url: &str, pairs: &[(&str, &str)], signature: &str) {
    assert_eq!(signer().sign(url, &form(pairs)), signature);
    assert!(signer().verify(url, &form(pairs), signature));
}

#[test]
fn the_vectors_of_the_helper_libraries_match() {
    signs(U, &P, "RSOYDt4T1cUTdK1PDd93/VVr8B8=");
    signs("https://mycompany.com:443/myapp.php?foo=1&bar=2", &P, "kvajT1Ptam85bY51eRf/AJRuM3w=");
    signs("http://mycompany.com:1234/myapp.php?foo=1&bar=2", &P, "Zmvh+3yNM1Phv2jhDCwEM3q5ebU=");
    signs("http://mycompany.com:80/myapp.php?foo=1&bar=2", &P, "0ZXoZLH/DfblKGATFgpif+LLRf4=");
    signs("https://user:pass@mycompany.com/myapp.php?foo=1&bar=2", &P, "CukzLTc1tT5dXEDIHm/tKBanW10=");
    signs("https://user@mycompany.com/myapp.php?foo=1&bar=2", &P, "2YRLlVAflCqxaNicjMpJcSTgzSs=");
    signs("https://user:pass@mycompany.com:443/myapp.php?foo=1&bar=2", &P, "ZQFR1PTIZXF2MXB8ZnKCvnnA+rI=");
    signs("https://user@mycompany.com:443/myapp.php?foo=1&bar=2", &P, "aZfj4hyX1MLZhSS6QIL18Vn2/RA=");
    signs(&format!("{U}&Body=It%27s+amazing"), &P, "TfZzewPq8wqrGlMfyAud8+/IvJ0=");
    signs(U, &CONFERENCE, "vOEb5UThFn24KEfnOFLQY2AE5FY=");
    signs(&U.replace("https", "http"), &CONFERENCE, "n2xBNyzSW7rfYStDtOFiFMv7qNo=");
    signs(U, &[("property", "value"), ("boolean", "true")], "NBdBDr/T/lgjI+tlgpXjKZQZs/k=");
    signs(U, &[], "zYQTYrRWXE7LtzbG4PfP7/bkkGo=");
}

#[test]
fn a_shared_key_signs_with_sha_256() {
    let shared = Signer::with_shared_key(&SecretString::from("12345"));
    for (url, pairs, signature) in [
        (U, &P[..], "033hgUJA9M/hXIZsYjwkerEP/DBm35nEri5FhCYjA5s="),
        ("wss://mycompany.com/conversation-relay", &[], "fdQDwMZIAKxzZ4p5a3PVCk8ntTNDGqHO85QwpRBLGXQ="),
    ] {
        assert_eq!(shared.sign(url, &form(pairs)), signature);
        assert!(shared.verify(url, &form(pairs), signature));
        assert!(!signer().verify(url, &form(pairs), signature), "the hash is another one");
        assert!(!shared.verify(url, &form(pairs), &signer().sign(url, &form(pairs))), "there is no fall-back to SHA-1");
    }
}

#[test]
fn each_distinct_value_of_a_repeated_parameter_is_signed_once() {
    let addresses = [("MessagingBinding.Address", "+1325xxxxxxx"), ("MessagingBinding.Address", "+1415xxxxxxx")];
    signs(U, &addresses, "83O6e2vORAoJHUNzJjDWN1jz+BA=");
    let digits =
        [("Sid", "CA123"), ("SidAccount", "AC123"), ("Digits", "5678"), ("Digits", "1234"), ("Digits", "1234")];
    signs(U, &digits, "IK+Dwps556ElfBT0I3Rgjkr1wJU=");
}

#[test]
fn further_rules_of_the_algorithm_hold() {
    let url = "https://example.com/voice";
    signs(url, &[("CallSid", "CA1"), ("HandoffData", ""), ("To", "+1")], "CNowW4eUoZiCDefoj3o1sno2RVM=");
    signs(url, &[("Body", "café ☕"), ("CallSid", "CA1")], "qlfx16yIKTu59BCe1w23bZ9ghsE=");
    signs(url, &[("a", "1"), ("B", "2")], "FMeVmzrSw2vylM775Kaw8GpWkiA=");
}

#[test]
fn a_port_may_be_signed_or_not() {
    for (given, signature) in [
        (U, "kvajT1Ptam85bY51eRf/AJRuM3w="),
        ("http://mycompany.com/myapp.php?foo=1&bar=2", "0ZXoZLH/DfblKGATFgpif+LLRf4="),
        ("https://mycompany.com:1234/myapp.php?foo=1&bar=2", "RSOYDt4T1cUTdK1PDd93/VVr8B8="),
        ("https://user:pass@mycompany.com/myapp.php?foo=1&bar=2", "ZQFR1PTIZXF2MXB8ZnKCvnnA+rI="),
        ("https://user@mycompany.com/myapp.php?foo=1&bar=2", "aZfj4hyX1MLZhSS6QIL18Vn2/RA="),
        ("https://user@mycompany.com:8443/myapp.php?foo=1&bar=2", "2YRLlVAflCqxaNicjMpJcSTgzSs="),
    ] {
        assert!(signer().verify(given, &form(&P), signature), "{given}");
    }
}

#[test]
fn a_query_may_be_signed_in_another_encoding_of_the_same_values() {
    // The Node helper accepts this signature, too, which was made with `%27`.
    assert!(signer().verify(&format!("{U}&Body=It's+amazing"), &form(&P), "TfZzewPq8wqrGlMfyAud8+/IvJ0="));
    let url = |query: &str| format!("https://mycompany.com/myapp.php?{query}");
    let same = ["name=O'Brien&note=two%20words", "name=O%27Brien&note=two+words", "name=O%27Brien&note=two%20words"];
    for sent in same {
        for signed in &same[..2] {
            assert!(signer().verify(&url(sent), &form(&P), &signer().sign(&url(signed), &form(&P))), "{sent} {signed}");
        }
    }
    let signed = signer().sign(&url("name=O'Brien"), &[]);
    for other in
        ["name=OBrien", "name=O%2527Brien", "name=O''Brien", "name=O'Brien&a=1", "Name=O'Brien", "name=O%FFBrien"]
    {
        assert!(!signer().verify(&url(other), &[], &signed), "{other}");
    }
}

#[test]
fn only_the_port_is_removed_or_added() {
    for (given, other) in [
        ("https://host", "https://host:443"),
        ("wss://host/a:1", "wss://host:443/a:1"),
        ("http://host:8080?x=a:b@c", "http://host?x=a:b@c"),
        ("http://[::1]/", "http://[::1]:80/"),
        ("http://[::1]:80/", "http://[::1]/"),
        ("https://u:p@host#f", "https://u:p@host:443#f"),
        ("no url", "no url"),
        ("://", "://:80"),
    ] {
        assert_eq!(toggle_port(given), other);
    }
}

#[test]
fn a_body_that_is_not_a_form_is_signed_by_its_hash() {
    let signer = signer();
    let url = format!("{U}&bodySHA256={JSON_HASH}");
    let alone = format!("https://mycompany.com/myapp.php?bodySHA256={JSON_HASH}");
    assert!(signer.verify_body(&url, JSON, "a9nBmqA0ju/hNViExpshrM61xv4="));
    assert!(signer.verify_body(&alone, JSON, "y77kIzt2vzLz71DgmJGsen2scGs="));
    // The vector is signed with `:443` and published with the URL that lacks it.
    let empty = format!("{U}&bodySHA256=44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a");
    assert!(signer.verify_body(&empty, b"{}", "Ldidvp12m26NI7eqEvxnEpkd9Hc="));

    assert!(!signer.verify_body(&url, b"{}", "a9nBmqA0ju/hNViExpshrM61xv4="), "another body");
    assert!(!signer.verify_body(U, JSON, &signer.sign(U, &[])), "no hash in the URL");
    assert!(!signer.verify_body(U, &[], &signer.sign(U, &[])), "no hash, no body");
}

#[test]
fn an_upgrade_is_signed_with_the_scheme_wss() {
    let signer = signer();
    let url = "wss://mycompany.com/conversation-relay";
    for (url, signature) in [
        (url, "P3LJUOoPAh9W8DYNtmgoIHpExAk="),
        ("wss://mycompany.com/conversation-relay/", "XcBFT3Je+l1szc7jkNLpLll6aA0="),
        ("https://mycompany.com/conversation-relay", "NpeKoQekyeHcs8esEgLhg+4M7Rk="),
        ("wss://mycompany.com:443/conversation-relay", "1ijNEBAQ+xr1SZzVh4fVjQXoIgU="),
    ] {
        assert_eq!(signer.sign(url, &[]), signature);
    }
    assert!(signer.verify_upgrade(url, "P3LJUOoPAh9W8DYNtmgoIHpExAk="));
    assert!(signer.verify_upgrade(url, "1ijNEBAQ+xr1SZzVh4fVjQXoIgU="), "with the standard port");
    assert!(!signer.verify_upgrade(url, "NpeKoQekyeHcs8esEgLhg+4M7Rk="), "signed as https");
    assert!(!signer.verify_upgrade(url, "XcBFT3Je+l1szc7jkNLpLll6aA0="), "a trailing slash");
}

#[test]
fn known_mismatches_are_rejected() {
    let signer = signer();
    // Published as an invalid signature.
    assert!(!signer.verify(U, &form(&CONFERENCE), "95+Bu0JVPi0r/SsESZCVf0dWAjw="));
    for signature in ["", "=", "RSOYDt4T1cUTdK1PDd93/VVr8B8", "RSOYDt4T1cUTdK1PDd93/VVr8B8= ", "ÄÖ"] {
        assert!(!signer.verify(U, &form(&P), signature), "{signature}");
    }
}

#[test]
fn the_key_is_not_printed() {
    assert_eq!(format!("{:?}", signer()), "Signer([secret])");
}

fn any_form() -> impl Strategy<Value = Vec<(String, String)>> {
    prop::collection::btree_map("[A-Za-z0-9_.]{1,8}", "\\PC{0,12}", 1..6)
        .prop_flat_map(|form| Just(form.into_iter().collect::<Vec<_>>()).prop_shuffle())
}

proptest! {
    #[test]
    fn a_signature_verifies_with_parameters_in_any_order(token in "\\PC{0,40}", url in "\\PC{0,60}", form in any_form()) {
        let signer = Signer::new(&token.into());
        let signature = signer.sign(&url, &form);
        let mut turned = form;
        turned.reverse();
        prop_assert!(signer.verify(&url, &turned, &signature));
    }

    #[test]
    fn a_changed_request_does_not_verify(form in any_form(), at in any::<prop::sample::Index>(), bit in 0_usize..160) {
        let signer = signer();
        let signature = signer.sign(U, &form);

        let mut longer = form.clone();
        at.get_mut(&mut longer).1.push('x');
        prop_assert!(!signer.verify(U, &longer, &signature));
        let mut fewer = form.clone();
        fewer.remove(at.index(form.len()));
        prop_assert!(!signer.verify(U, &fewer, &signature));
        prop_assert!(!signer.verify(&[U, "&x"].concat(), &form, &signature));
        prop_assert!(!Signer::new(&"54321".into()).verify(U, &form, &signature));

        let mut bytes = BASE64.decode(&signature).unwrap();
        bytes[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(!signer.verify(U, &form, &BASE64.encode(bytes)));
    }
}
