//! The response service: which server answers the caller, and how it is reached.

use std::str::FromStr;

use secrecy::SecretString;

use super::reader::ConfigReader;
use super::{ConfigWarning, ModelPrices, OpenAiConfig, read_openai, values};

/// `RESPONSE_SERVICE` (openai): the server that answers the caller.
#[derive(Debug, Clone)]
pub enum ResponseServiceConfig {
    /// A server of OpenAI's Responses API.
    OpenAi(OpenAiConfig),
    /// A flow of Flowise.
    Flowise(FlowiseConfig),
}

/// Access to a flow of Flowise.
#[derive(Debug, Clone)]
pub struct FlowiseConfig {
    /// `FLOWISE_URL`, required: the address of the server, without a trailing slash.
    pub url: String,
    /// `FLOWISE_CHATFLOW_ID`, required: the flow of a call that names none. A valid path segment.
    pub chatflow_id: String,
    /// `FLOWISE_ALLOWED_CHATFLOWS`: the other flows that the call parameter `chatflowId` may name; none by default.
    pub allowed_chatflows: Vec<String>,
    /// `FLOWISE_API_KEY`: the key of the flow, if it has one. A valid header value.
    pub api_key: Option<SecretString>,
    /// `FLOWISE_VARS`: the variables that are sent. All but `caller` by default.
    pub variables: Vec<FlowiseVariable>,
}

/// A variable of the flow, which its prompts and the headers of its MCP servers can use as `{{$vars.name}}`. Flowise
/// ignores a variable that the flow's API configuration does not allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlowiseVariable {
    /// `instructions`: the context, and the details of the call.
    Instructions,
    /// `update`: what the server has reported since the agent last spoke, such as the progress of a payment.
    Update,
    /// `earlierUpdates`: what the server had reported before.
    EarlierUpdates,
    /// `callSid`: the SID of the call.
    CallSid,
    /// `callToken`: the bearer token of `POST /mcp` for this call and this request.
    CallToken,
    /// `caller`: the phone number of the person on the line, in E.164 form.
    Caller,
}

/// The text names no variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("contains the name of an unknown variable")]
pub struct ParseFlowiseVariableError;

const EXPECTED_SERVICE: &str = "openai or flowise";
const EXPECTED_URL: &str = "the address of your Flowise, such as https://flowise.example.com";
const EXPECTED_FLOW: &str = "the id of a flow: the last part of its address in Flowise";
const EXPECTED_FLOWS: &str = "the ids of flows with commas between them";
const EXPECTED_KEY: &str = "the API key that is chosen in the flow's settings, or no value for a public flow";

#[derive(Clone, Copy, PartialEq, Eq)]
enum ServiceName {
    OpenAi,
    Flowise,
}

/// Reads `RESPONSE_SERVICE`, and the variables of the service that it names.
pub(super) fn read_response_service(vars: &mut ConfigReader<'_>) -> Option<ResponseServiceConfig> {
    match vars.read_optional("RESPONSE_SERVICE", parse_service, EXPECTED_SERVICE).unwrap_or(ServiceName::OpenAi) {
        ServiceName::OpenAi => {
            vars.warn_if(vars.is_set("FLOWISE_URL"), ConfigWarning::FlowiseUnused);
            read_openai(vars).map(ResponseServiceConfig::OpenAi)
        }
        ServiceName::Flowise => read_flowise(vars).map(ResponseServiceConfig::Flowise),
    }
}

fn read_flowise(vars: &mut ConfigReader<'_>) -> Option<FlowiseConfig> {
    let url = vars.read_required("FLOWISE_URL", values::base_url, EXPECTED_URL);
    let chatflow_id = vars.read_required("FLOWISE_CHATFLOW_ID", values::label, EXPECTED_FLOW);
    let allowed = vars.read_optional("FLOWISE_ALLOWED_CHATFLOWS", values::labels, EXPECTED_FLOWS);
    let api_key = vars.read_optional("FLOWISE_API_KEY", values::token, EXPECTED_KEY);
    let expected =
        format!("names of {} with commas between them", FlowiseVariable::ALL.map(FlowiseVariable::name).join(", "));
    let variables = vars.read_optional("FLOWISE_VARS", parse_variables, &expected);
    vars.check_exposure("FLOWISE_URL", url.as_ref().map(values::exposure));
    Some(FlowiseConfig {
        url: values::without_trailing_slash(&url?),
        chatflow_id: chatflow_id?,
        allowed_chatflows: allowed.unwrap_or_default(),
        api_key: api_key.map(SecretString::from),
        variables: variables.unwrap_or_else(|| FlowiseVariable::DEFAULT.to_vec()),
    })
}

fn parse_service(text: &str) -> Result<ServiceName, values::ParseVariableError> {
    let name = |service: ServiceName| match service {
        ServiceName::OpenAi => "openai",
        ServiceName::Flowise => "flowise",
    };
    let service = values::find_word(&[ServiceName::OpenAi, ServiceName::Flowise], name, text);
    service.ok_or(values::ParseVariableError::ResponseService)
}

/// Parses a comma-separated list of names.
fn parse_variables(text: &str) -> Result<Vec<FlowiseVariable>, ParseFlowiseVariableError> {
    text.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::parse).collect()
}

impl FlowiseVariable {
    /// All variables.
    pub const ALL: [Self; 6] =
        [Self::Instructions, Self::Update, Self::EarlierUpdates, Self::CallSid, Self::CallToken, Self::Caller];

    /// The default of `FLOWISE_VARS`.
    const DEFAULT: [Self; 5] = [Self::Instructions, Self::Update, Self::EarlierUpdates, Self::CallSid, Self::CallToken];

    /// The name in the flow.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Instructions => "instructions",
            Self::Update => "update",
            Self::EarlierUpdates => "earlierUpdates",
            Self::CallSid => "callSid",
            Self::CallToken => "callToken",
            Self::Caller => "caller",
        }
    }
}

impl FromStr for FlowiseVariable {
    type Err = ParseFlowiseVariableError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        values::find_word(&Self::ALL, Self::name, text).ok_or(ParseFlowiseVariableError)
    }
}

impl ResponseServiceConfig {
    /// What answers the caller, for the log: the model, or the flow of Flowise.
    pub fn model_name(&self) -> &str {
        match self {
            Self::OpenAi(openai) => &openai.model,
            Self::Flowise(flowise) => &flowise.chatflow_id,
        }
    }

    /// The prices of the model's tokens, if they are known.
    pub fn prices(&self) -> Option<ModelPrices> {
        match self {
            Self::OpenAi(openai) => openai.model_prices(),
            Self::Flowise(_) => None,
        }
    }
}
