//! The variables of the model: `OPENAI_*`.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use secrecy::SecretString;
use serde::{Serialize, Serializer};
use url::Url;

use super::exposure::Exposure;
use super::prices::{ModelPrices, PriceTable};
use super::reader::ConfigReader;
use super::values;

/// The default of `OPENAI_MODEL`.
pub const DEFAULT_MODEL: &str = "gpt-6-luna";

/// The default of `OPENAI_BASE_URL`.
pub const DEFAULT_BASE_URL: &str = "https://api.openai.com/v1";

/// The minimum of `OPENAI_MAX_OUTPUT_TOKENS`: OpenAI refuses a lower one.
const MIN_OUTPUT_TOKENS: u32 = 16;

/// Access to the OpenAI API, and how the model answers.
#[derive(Debug, Clone)]
pub struct OpenAiConfig {
    /// `OPENAI_API_KEY`, required with `RESPONSE_SERVICE=openai`. A valid header value.
    pub api_key: SecretString,
    /// `OPENAI_MODEL` ([`DEFAULT_MODEL`]).
    pub model: String,
    /// `OPENAI_BASE_URL` ([`DEFAULT_BASE_URL`]).
    pub base_url: ApiBaseUrl,
    /// `OPENAI_REASONING_EFFORT` (`none` where the model reasons).
    pub reasoning_effort: Setting<ReasoningEffort>,
    /// `OPENAI_SERVICE_TIER`: how OpenAI processes requests; not sent by default.
    pub service_tier: Option<ServiceTier>,
    /// `OPENAI_MAX_OUTPUT_TOKENS` (400 where the model does not reason): the maximum length of a response.
    pub max_output_tokens: Setting<NonZeroU32>,
    /// `OPENAI_PRICES`: the prices of models; those of some of OpenAI's are built in.
    pub prices: PriceTable,
    /// `OPENAI_TRANSPORT` ([`ModelTransport::Http`]): how responses are requested.
    pub transport: ModelTransport,
}

impl OpenAiConfig {
    /// The configuration of a model with all optional variables at their defaults.
    pub fn new(api_key: SecretString, model: impl Into<String>, base_url: ApiBaseUrl) -> Self {
        Self {
            api_key,
            model: model.into(),
            base_url,
            reasoning_effort: Setting::ByModel,
            service_tier: None,
            max_output_tokens: Setting::ByModel,
            prices: PriceTable::default(),
            transport: ModelTransport::Http,
        }
    }

    /// The prices of the model's tokens, if they are known.
    pub fn model_prices(&self) -> Option<ModelPrices> {
        let is_standard = matches!(self.service_tier, None | Some(ServiceTier::Auto | ServiceTier::Default));
        let built_in =
            || ModelPrices::of_model(&self.model).filter(|_| is_standard && self.base_url == ApiBaseUrl::default());
        self.prices.find(&self.model).or_else(built_in)
    }
}

/// A setting whose default depends on the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setting<T> {
    /// The variable is not set: the value that suits the model and the server, if they are known to take one.
    ByModel,
    /// `default`: nothing is sent, so that the server's own default applies.
    NotSent,
    /// This value, unless the server refuses it.
    Value(T),
}

/// How much a reasoning model thinks before it answers: `reasoning.effort`, from the least to the most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ReasoningEffort {
    /// `none`: it answers at once.
    None,
    /// `minimal`.
    Minimal,
    /// `low`.
    Low,
    /// `medium`.
    Medium,
    /// `high`.
    High,
    /// `xhigh`.
    Xhigh,
    /// `max`.
    Max,
}

/// A service tier of OpenAI: `service_tier`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServiceTier {
    /// `auto`: as configured in the OpenAI project.
    Auto,
    /// `default`: the standard price and speed.
    Default,
    /// `flex`: cheaper and slower.
    Flex,
    /// `scale`.
    Scale,
    /// `priority`: the same as `fast`.
    Priority,
    /// `fast`: faster, at about twice the price.
    Fast,
    /// `ultrafast`.
    Ultrafast,
}

/// How responses are requested.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ModelTransport {
    /// `http`: a request for each response, whose events are streamed.
    #[default]
    Http,
    /// `websocket`: over WebSockets that are kept open, and over HTTP while there is none.
    WebSocket,
}

/// The text is not one of the words of a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is not one of the known words")]
pub struct ParseWordError;

impl ReasoningEffort {
    /// All efforts, from the least to the most.
    pub const ALL: [Self; 7] = [Self::None, Self::Minimal, Self::Low, Self::Medium, Self::High, Self::Xhigh, Self::Max];

    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Minimal => "minimal",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Xhigh => "xhigh",
            Self::Max => "max",
        }
    }
}

impl FromStr for ReasoningEffort {
    type Err = ParseWordError;

    fn from_str(text: &str) -> Result<Self, ParseWordError> {
        values::find_word(&Self::ALL, Self::as_str, text).ok_or(ParseWordError)
    }
}

impl fmt::Display for ReasoningEffort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for ReasoningEffort {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl ServiceTier {
    const ALL: [Self; 7] =
        [Self::Auto, Self::Default, Self::Flex, Self::Scale, Self::Priority, Self::Fast, Self::Ultrafast];

    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Default => "default",
            Self::Flex => "flex",
            Self::Scale => "scale",
            Self::Priority => "priority",
            Self::Fast => "fast",
            Self::Ultrafast => "ultrafast",
        }
    }
}

impl FromStr for ServiceTier {
    type Err = ParseWordError;

    fn from_str(text: &str) -> Result<Self, ParseWordError> {
        values::find_word(&Self::ALL, Self::as_str, text).ok_or(ParseWordError)
    }
}

impl ModelTransport {
    /// The value of the variable.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::WebSocket => "websocket",
        }
    }
}

impl FromStr for ModelTransport {
    type Err = ParseWordError;

    fn from_str(text: &str) -> Result<Self, ParseWordError> {
        values::find_word(&[Self::Http, Self::WebSocket], Self::as_str, text).ok_or(ParseWordError)
    }
}

impl Serialize for ServiceTier {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// The base URL of an API, to whose path the paths of requests are appended. It may have a query, such as
/// `?api-version=preview` at Azure, which every request then has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiBaseUrl(Url);

/// The reason why a text is not the base URL of an API. A predicate whose subject is the variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseApiBaseUrlError {
    /// It is no absolute URL, or has another scheme.
    #[error("is not an absolute http or https URL")]
    NotUrl,
    /// It has a user name or a password.
    #[error("has a user name or a password: the key belongs into OPENAI_API_KEY")]
    UserInfo,
    /// It has a fragment.
    #[error("has a fragment (#…), which is never sent")]
    Fragment,
    /// It is the URL of one request.
    #[error("ends in /responses, which the server appends itself")]
    Endpoint,
}

impl ApiBaseUrl {
    /// The URL of a request: these segments, each percent-encoded, are appended to the path; the query stays.
    pub fn join(&self, segments: &[&str]) -> Url {
        let mut url = self.0.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        url
    }

    /// The URL as it was configured.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The host name or address.
    pub fn host(&self) -> &str {
        self.0.host_str().unwrap_or_default()
    }

    /// Who can read data that is sent to this URL.
    fn exposure(&self) -> Exposure {
        values::exposure(&self.0)
    }
}

impl FromStr for ApiBaseUrl {
    type Err = ParseApiBaseUrlError;

    fn from_str(text: &str) -> Result<Self, ParseApiBaseUrlError> {
        let url = Url::parse(text).map_err(|_| ParseApiBaseUrlError::NotUrl)?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() || text.contains(char::is_whitespace) {
            return Err(ParseApiBaseUrlError::NotUrl);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(ParseApiBaseUrlError::UserInfo);
        }
        if url.fragment().is_some() {
            return Err(ParseApiBaseUrlError::Fragment);
        }
        if url.path().trim_end_matches('/').ends_with("/responses") {
            return Err(ParseApiBaseUrlError::Endpoint);
        }
        Ok(Self(url))
    }
}

impl Default for ApiBaseUrl {
    fn default() -> Self {
        DEFAULT_BASE_URL.parse().expect("the default is a URL")
    }
}

pub(super) fn read_openai(vars: &mut ConfigReader<'_>) -> Option<OpenAiConfig> {
    let api_key = vars.read_required("OPENAI_API_KEY", values::token, "the secret key of your OpenAI project (sk-…)");
    let model = vars.read_optional("OPENAI_MODEL", values::name, "the name of a model, such as gpt-6-luna");
    let base_url = vars.read_optional(
        "OPENAI_BASE_URL",
        str::parse::<ApiBaseUrl>,
        "a URL such as https://api.openai.com/v1, with a query if your server needs one",
    );
    let reasoning_effort = vars.read_optional(
        "OPENAI_REASONING_EFFORT",
        parse_setting,
        "none, minimal, low, medium, high, xhigh, max, or default to leave it to the server",
    );
    let service_tier = vars.read_optional(
        "OPENAI_SERVICE_TIER",
        str::parse::<ServiceTier>,
        "auto, default, flex, scale, priority, fast or ultrafast",
    );
    let max_output_tokens = vars.read_optional(
        "OPENAI_MAX_OUTPUT_TOKENS",
        parse_output_tokens,
        "a number from 16 to 1000000, or default to leave it to the server",
    );
    let prices = vars.read_optional(
        "OPENAI_PRICES",
        str::parse::<PriceTable>,
        "dollars per million tokens of input, cached input and output by model, such as gpt-6-luna=0.10/0.01/0.50",
    );
    let transport = vars.read_optional("OPENAI_TRANSPORT", str::parse::<ModelTransport>, "http or websocket");
    vars.check_exposure("OPENAI_BASE_URL", base_url.as_ref().map(ApiBaseUrl::exposure));
    Some(OpenAiConfig {
        api_key: api_key?.into(),
        model: model.unwrap_or_else(|| DEFAULT_MODEL.to_owned()),
        base_url: base_url.unwrap_or_default(),
        reasoning_effort: reasoning_effort.unwrap_or(Setting::ByModel),
        service_tier,
        max_output_tokens: max_output_tokens.unwrap_or(Setting::ByModel),
        prices: prices.unwrap_or_default(),
        transport: transport.unwrap_or_default(),
    })
}

fn parse_setting<T: FromStr>(text: &str) -> Result<Setting<T>, T::Err> {
    if text.eq_ignore_ascii_case("default") { Ok(Setting::NotSent) } else { text.parse().map(Setting::Value) }
}

fn parse_output_tokens(text: &str) -> Result<Setting<NonZeroU32>, values::ParseVariableError> {
    let setting = parse_setting::<NonZeroU32>(text).map_err(|_| values::ParseVariableError::Tokens)?;
    match setting {
        Setting::Value(tokens) if !(MIN_OUTPUT_TOKENS..=1_000_000).contains(&tokens.get()) => {
            Err(values::ParseVariableError::Tokens)
        }
        setting => Ok(setting),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Vars;

    fn read(vars: &[(&str, &str)]) -> Result<OpenAiConfig, String> {
        let vars = vars.iter().copied().chain([("OPENAI_API_KEY", "sk-hush")]).collect::<Vars>();
        let mut reader = ConfigReader::new(&vars);
        let config = read_openai(&mut reader);
        reader.finish(config).map(|(config, _)| config).map_err(|problems| problems.to_string())
    }

    fn responses_url(base: &str) -> String {
        base.parse::<ApiBaseUrl>().unwrap().join(&["responses"]).to_string()
    }

    #[test]
    fn the_default_is_luna_at_openai_with_what_suits_it() {
        let config = read(&[]).unwrap();
        assert_eq!((config.model.as_str(), config.base_url.host()), ("gpt-6-luna", "api.openai.com"));
        assert_eq!((config.reasoning_effort, config.max_output_tokens), (Setting::ByModel, Setting::ByModel));
        assert_eq!(config.service_tier, None);
    }

    #[test]
    fn a_model_has_its_configured_price_or_openais() {
        let prices = |vars: &[(&str, &str)]| read(vars).unwrap().model_prices();
        let (luna, own) = (ModelPrices::of_model("gpt-6-luna"), "gpt-6-luna=7/7/7,mine=1/1/1");
        assert!(luna.is_some());
        assert_eq!(prices(&[]), luna);
        assert_eq!(prices(&[("OPENAI_SERVICE_TIER", "fast")]), None);
        assert_eq!(prices(&[("OPENAI_BASE_URL", "https://gateway.example.com/v1")]), None);
        assert_eq!(prices(&[("OPENAI_MODEL", "mine")]), None);
        assert!(prices(&[("OPENAI_PRICES", own)]) != luna && prices(&[("OPENAI_PRICES", own)]).is_some());
        assert!(prices(&[("OPENAI_MODEL", "mine"), ("OPENAI_PRICES", own)]).is_some());
        assert!(read(&[("OPENAI_PRICES", "cheap")]).unwrap_err().contains("OPENAI_PRICES  is not a list of models"));
    }

    #[test]
    fn each_word_of_a_setting_is_read_and_written() {
        for effort in ReasoningEffort::ALL {
            let config = read(&[("OPENAI_REASONING_EFFORT", effort.as_str())]).unwrap();
            assert_eq!(config.reasoning_effort, Setting::Value(effort));
        }
        for tier in ServiceTier::ALL {
            assert_eq!(read(&[("OPENAI_SERVICE_TIER", tier.as_str())]).unwrap().service_tier, Some(tier));
        }
        assert_eq!(read(&[("OPENAI_REASONING_EFFORT", "Default")]).unwrap().reasoning_effort, Setting::NotSent);
        let tokens = |text| read(&[("OPENAI_MAX_OUTPUT_TOKENS", text)]).map(|config| config.max_output_tokens);
        assert_eq!(tokens("16"), Ok(Setting::Value(NonZeroU32::new(16).unwrap())));
        assert_eq!(tokens("default"), Ok(Setting::NotSent));
        for text in ["0", "15", "1000001", "-1", "many"] {
            assert!(
                tokens(text).unwrap_err().contains("OPENAI_MAX_OUTPUT_TOKENS  is not a number of tokens"),
                "{text}"
            );
        }
        for transport in [ModelTransport::Http, ModelTransport::WebSocket] {
            assert_eq!(read(&[("OPENAI_TRANSPORT", transport.as_str())]).unwrap().transport, transport);
        }
        for name in ["OPENAI_REASONING_EFFORT", "OPENAI_SERVICE_TIER", "OPENAI_TRANSPORT"] {
            assert!(read(&[(name, "some")]).unwrap_err().contains("is not one of the known words"), "{name}");
        }
    }

    #[test]
    fn a_request_is_joined_before_the_query() {
        let responses = "https://api.openai.com/v1/responses";
        assert_eq!(responses_url("https://api.openai.com/v1"), responses);
        assert_eq!(responses_url("https://api.openai.com/v1/"), responses);
        let azure = "https://acme.openai.azure.com/openai/v1/responses?api-version=preview";
        assert_eq!(responses_url("https://acme.openai.azure.com/openai/v1/?api-version=preview"), azure);
        assert_eq!(responses_url("https://acme.openai.azure.com/openai/v1?api-version=preview"), azure);
        assert_eq!(responses_url("http://127.0.0.1:8000"), "http://127.0.0.1:8000/responses");
        let model = ApiBaseUrl::default().join(&["models", "../acme/a?b"]);
        assert_eq!(model.as_str(), "https://api.openai.com/v1/models/..%2Facme%2Fa%3Fb");
    }

    #[test]
    fn an_invalid_base_url_is_reported_by_what_is_wrong_with_it() {
        for (text, error) in [
            ("api.openai.com/v1", ParseApiBaseUrlError::NotUrl),
            ("ftp://api.openai.com/v1", ParseApiBaseUrlError::NotUrl),
            ("https://a\nb", ParseApiBaseUrlError::NotUrl),
            ("https://u:p@api.openai.com/v1", ParseApiBaseUrlError::UserInfo),
            ("https://api.openai.com/v1#a", ParseApiBaseUrlError::Fragment),
            ("https://api.openai.com/v1/responses?api-version=1", ParseApiBaseUrlError::Endpoint),
        ] {
            assert_eq!(text.parse::<ApiBaseUrl>(), Err(error), "{text}");
        }
    }
}
