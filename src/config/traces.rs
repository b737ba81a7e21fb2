//! Where traces are sent: the variables that OpenTelemetry's specification names.

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use url::Url;

use super::reader::ConfigReader;
use super::{ConfigWarning, values};

/// How traces are sent to a collector of OpenTelemetry. `Debug` shows no header's value.
#[derive(Debug, Clone)]
pub struct TracesConfig {
    /// `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`, or `OTEL_EXPORTER_OTLP_ENDPOINT` with `v1/traces` behind its path: the URL of
    /// the requests.
    pub endpoint: Url,
    /// `OTEL_EXPORTER_OTLP_HEADERS`: the further headers of the requests, all sensitive; none by default.
    pub headers: HeaderMap,
    /// `OTEL_EXPORTER_OTLP_TIMEOUT` (10000), in milliseconds: the time limit of a request.
    pub timeout: Duration,
    /// `OTEL_RESOURCE_ATTRIBUTES` and, before its `service.name`, `OTEL_SERVICE_NAME` (crelay-payments): what traces say of
    /// the server that sent them.
    pub resource: BTreeMap<String, String>,
    /// `OTEL_TRACES_SAMPLER` (parentbased_always_on) and `OTEL_TRACES_SAMPLER_ARG` (1): the calls that are traced.
    pub sampler: TraceSampler,
}

/// `OTEL_TRACES_SAMPLER`: the calls that are traced. A call has no parent elsewhere, so the samplers that follow a parent
/// are those of their roots.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum TraceSampler {
    /// `always_on`, `parentbased_always_on`: all calls.
    AlwaysOn,
    /// `always_off`, `parentbased_always_off`: none.
    AlwaysOff,
    /// `traceidratio`, `parentbased_traceidratio`: this share of them, from 0 to 1.
    Ratio(f64),
}

const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const TRACES_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
const EXPECTED_ENDPOINT: &str = "an http or https URL, such as http://127.0.0.1:4318";
/// The limits of W3C baggage, whose form `OTEL_RESOURCE_ATTRIBUTES` has: in bytes of text, and attributes.
const MAX_RESOURCE_BYTES: usize = 8192;
const MAX_RESOURCE_ATTRIBUTES: usize = 64;

const SERVICE_NAME: &str = "service.name";
const PROTOCOL: &str = "http/protobuf";
const SAMPLERS: &str = "always_on, always_off, traceidratio, or one of them with parentbased_ before it";

/// Reads the variables. Without an endpoint the others are not looked at, since programs on one machine share them.
pub(super) fn read_traces(vars: &mut ConfigReader<'_>) -> Option<TracesConfig> {
    let is_own = vars.is_set(TRACES_ENDPOINT);
    let variable = if is_own { TRACES_ENDPOINT } else { ENDPOINT };
    let mut endpoint = vars.read_optional(variable, values::base_url, EXPECTED_ENDPOINT)?;
    vars.check_exposure(variable, Some(values::exposure(&endpoint)));
    if !is_own && let Ok(mut path) = endpoint.path_segments_mut() {
        path.pop_if_empty().extend(["v1", "traces"]);
    }
    let protocol = vars.read_optional("OTEL_EXPORTER_OTLP_PROTOCOL", values::name, PROTOCOL);
    vars.warn_if(protocol.is_some_and(|protocol| protocol != PROTOCOL), ConfigWarning::OtlpProtocol);
    let headers = vars.read_optional(
        "OTEL_EXPORTER_OTLP_HEADERS",
        parse_headers,
        "headers with commas between them, such as api-key=a-secret, each value percent-encoded",
    );
    let timeout = vars.read_optional(
        "OTEL_EXPORTER_OTLP_TIMEOUT",
        parse_milliseconds,
        "whole milliseconds, from 1 to 3600000, such as 10000",
    );
    let resource = vars.read_optional(
        "OTEL_RESOURCE_ATTRIBUTES",
        parse_resource,
        "attributes with commas between them, such as deployment.environment.name=production,service.namespace=pay, with \
         commas, equals signs and other characters percent-encoded",
    );
    let mut resource = resource.unwrap_or_default();
    match vars.read_optional("OTEL_SERVICE_NAME", values::name, "a name, such as crelay-payments") {
        Some(name) => drop(resource.insert(SERVICE_NAME.to_owned(), name)),
        None => drop(resource.entry(SERVICE_NAME.to_owned()).or_insert_with(|| env!("CARGO_PKG_NAME").to_owned())),
    }
    let share = vars.read_optional("OTEL_TRACES_SAMPLER_ARG", parse_share, "a number from 0 to 1, such as 0.1");
    let sampler = vars.read_optional(
        "OTEL_TRACES_SAMPLER",
        |text| parse_sampler(text, share.unwrap_or(1.0)).ok_or("is no sampler that this server has"),
        SAMPLERS,
    );
    Some(TracesConfig {
        endpoint,
        headers: headers.unwrap_or_default(),
        timeout: timeout.unwrap_or(Duration::from_secs(10)),
        resource,
        sampler: sampler.unwrap_or(TraceSampler::AlwaysOn),
    })
}

fn parse_sampler(text: &str, share: f64) -> Option<TraceSampler> {
    match text.strip_prefix("parentbased_").unwrap_or(text) {
        "always_on" => Some(TraceSampler::AlwaysOn),
        "always_off" => Some(TraceSampler::AlwaysOff),
        "traceidratio" => Some(TraceSampler::Ratio(share)),
        _ => None,
    }
}

fn parse_milliseconds(text: &str) -> Result<Duration, &'static str> {
    let milliseconds = text.parse().ok().filter(|milliseconds| (1..=3_600_000).contains(milliseconds));
    milliseconds.map(Duration::from_millis).ok_or("is no number of milliseconds within an hour")
}

fn parse_share(text: &str) -> Result<f64, &'static str> {
    text.parse().ok().filter(|share| (0.0..=1.0).contains(share)).ok_or("is no number from 0 to 1")
}

/// Parses headers as OpenTelemetry writes them: like W3C baggage without properties.
fn parse_headers(text: &str) -> Result<HeaderMap, &'static str> {
    let mut headers = HeaderMap::new();
    for entry in entries(text) {
        let (name, value) = entry?;
        let name = name.parse::<HeaderName>().map_err(|_| "has a name that no header can have")?;
        let mut value = decode_percent(value)
            .and_then(|value| HeaderValue::from_bytes(&value).ok())
            .ok_or("has a value that no header can have")?;
        value.set_sensitive(true);
        headers.append(name, value);
    }
    Ok(headers)
}

/// Parses the attributes of a resource. Of one that is there twice the last one counts.
fn parse_resource(text: &str) -> Result<BTreeMap<String, String>, &'static str> {
    if text.len() > MAX_RESOURCE_BYTES {
        return Err("is longer than 8192 bytes");
    }
    let decode = |text: &str| {
        let decoded = decode_percent(text).and_then(|bytes| String::from_utf8(bytes).ok());
        let is_fit = |text: &String| !text.contains(char::is_control);
        decoded.filter(is_fit).ok_or("has an attribute whose percent-encoding is wrong, or with a control character")
    };
    let mut attributes = BTreeMap::new();
    for entry in entries(text) {
        let (key, value) = entry?;
        if key.is_empty() || value.contains('=') {
            return Err("has an attribute without a name, or with two equals signs");
        }
        attributes.insert(decode(key)?, decode(value)?);
    }
    if attributes.len() > MAX_RESOURCE_ATTRIBUTES {
        return Err("has more than 64 attributes");
    }
    Ok(attributes)
}

/// The names and the values of a list, as W3C baggage without properties has it.
fn entries(text: &str) -> impl Iterator<Item = Result<(&str, &str), &'static str>> {
    text.split(',').filter(|entry| !entry.trim().is_empty()).map(|entry| {
        let (name, value) = entry.split_once('=').ok_or("has an entry without an equals sign")?;
        Ok((name.trim(), value.trim()))
    })
}

fn decode_percent(text: &str) -> Option<Vec<u8>> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        decoded.push(if byte == b'%' {
            let digits = [bytes.next()?, bytes.next()?];
            let mut byte = [0];
            hex::decode_to_slice(digits, &mut byte).ok()?;
            byte[0]
        } else {
            byte
        });
    }
    Some(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Vars;

    fn read(vars: &[(&str, &str)]) -> Result<(Option<TracesConfig>, Vec<ConfigWarning>), String> {
        let vars: Vars = vars.iter().copied().collect();
        let mut reader = ConfigReader::new(&vars);
        let traces = read_traces(&mut reader);
        reader.finish(Some(traces)).map_err(|error| error.to_string())
    }

    #[test]
    fn without_an_endpoint_nothing_is_sent_and_nothing_is_wrong() {
        let (traces, warnings) =
            read(&[("OTEL_TRACES_SAMPLER", "xray"), ("OTEL_EXPORTER_OTLP_TIMEOUT", "soon")]).unwrap();
        assert!(traces.is_none() && warnings.is_empty());
    }

    #[test]
    fn the_common_endpoint_gets_the_path_of_traces_and_their_own_does_not() {
        let endpoint = |vars: &[(&str, &str)]| read(vars).unwrap().0.unwrap().endpoint.to_string();
        for base in ["http://127.0.0.1:4318", "http://127.0.0.1:4318/"] {
            assert_eq!(endpoint(&[(ENDPOINT, base)]), "http://127.0.0.1:4318/v1/traces");
        }
        assert_eq!(endpoint(&[(ENDPOINT, "https://otel.example.com/a/")]), "https://otel.example.com/a/v1/traces");
        let both = [(ENDPOINT, "https://otel.example.com"), (TRACES_ENDPOINT, "https://traces.example.com/in")];
        assert_eq!(endpoint(&both), "https://traces.example.com/in");
    }

    #[test]
    fn headers_are_percent_decoded_and_secret() {
        let headers = ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Basic%20aHVzaA==, x-tenant = a%2Cb,");
        let traces = read(&[(ENDPOINT, "https://otel.example.com"), headers]).unwrap().0.unwrap();
        assert!(traces.headers["authorization"] == "Basic aHVzaA==" && traces.headers["x-tenant"] == "a,b");
        assert!(!format!("{traces:?}").contains("aHVzaA"));
        for wrong in ["api-key", "api key=1", "a=%", "a=%zz", "a=%0a"] {
            let error = read(&[(ENDPOINT, "https://otel.example.com"), (headers.0, wrong)]).unwrap_err();
            assert!(error.contains(headers.0), "{wrong}: {error}");
        }
    }

    #[test]
    fn the_service_has_the_attributes_that_it_is_given() {
        let resource = |attributes: &str, name: &str| {
            let vars =
                [(ENDPOINT, "http://127.0.0.1"), ("OTEL_RESOURCE_ATTRIBUTES", attributes), ("OTEL_SERVICE_NAME", name)];
            let traces = read(&vars)?.0.unwrap();
            let attributes: Vec<_> = traces.resource.iter().map(|(key, value)| format!("{key}={value}; ")).collect();
            Ok::<_, String>(attributes.concat())
        };
        assert_eq!(resource("", ""), Ok("service.name=crelay-payments; ".to_owned()));
        assert_eq!(
            resource("host.name=a%2Cb%3Dc%20d, team%2Fpay = caf%C3%A9 ,empty=,service.name=pay", ""),
            Ok("empty=; host.name=a,b=c d; service.name=pay; team/pay=café; ".to_owned())
        );
        assert_eq!(resource("service.name=pay,a=1,a=2", "desk"), Ok("a=2; service.name=desk; ".to_owned()));
        let (long, many) = (
            format!("a={}", "b".repeat(8192)),
            (0..65).map(|number| format!("a{number}=")).collect::<Vec<_>>().join(","),
        );
        for wrong in ["team", "=pay", "a=b=c", "a=%", "a=%zz", "a=%ff", "a=%0a", &long, &many] {
            let error = resource(wrong, "").unwrap_err();
            assert!(error.contains("OTEL_RESOURCE_ATTRIBUTES"), "{wrong}: {error}");
        }
    }

    #[test]
    fn a_sampler_that_follows_a_parent_is_that_of_its_root() {
        let sampler = |name: &str, share: &str| {
            let vars =
                [(ENDPOINT, "http://127.0.0.1"), ("OTEL_TRACES_SAMPLER", name), ("OTEL_TRACES_SAMPLER_ARG", share)];
            read(&vars).map(|(traces, _)| traces.unwrap().sampler)
        };
        assert_eq!(sampler("", ""), Ok(TraceSampler::AlwaysOn));
        assert_eq!(sampler("parentbased_always_on", ""), Ok(TraceSampler::AlwaysOn));
        assert_eq!(sampler("always_off", ""), Ok(TraceSampler::AlwaysOff));
        assert_eq!(sampler("parentbased_traceidratio", "0.25"), Ok(TraceSampler::Ratio(0.25)));
        assert_eq!(sampler("traceidratio", ""), Ok(TraceSampler::Ratio(1.0)));
        assert!(sampler("traceidratio", "1.5").unwrap_err().contains("OTEL_TRACES_SAMPLER_ARG"));
        assert!(sampler("jaeger_remote", "").unwrap_err().contains("always_on"));
    }

    #[test]
    fn another_protocol_and_a_readable_endpoint_are_noted() {
        let warnings = |endpoint: &str, protocol: &str| {
            read(&[(ENDPOINT, endpoint), ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)]).map(|(_, warnings)| warnings)
        };
        assert_eq!(warnings("http://127.0.0.1:4318", "http/protobuf"), Ok(Vec::new()));
        assert_eq!(warnings("http://127.0.0.1:4317", "grpc"), Ok(vec![ConfigWarning::OtlpProtocol]));
        assert_eq!(warnings("http://collector:4318", ""), Ok(vec![ConfigWarning::PlainHttp(ENDPOINT)]));
        assert!(warnings("http://otel.example.com", "").unwrap_err().contains("https"));
    }
}
