//! The blocks of a streamed prediction, framed as Flowise frames them.

use axum::body::Bytes;
use serde_json::{Value, json};

/// A block: a field named `message`, and the kind of the event inside the data.
pub(super) fn block(event: &str, data: &Value) -> Bytes {
    format!("message:\ndata:{}\n\n", json!({"event": event, "data": data})).into()
}

/// The blocks before the first token.
pub(super) fn opening() -> Vec<Bytes> {
    vec![
        block("agentFlowEvent", &json!("INPROGRESS")),
        block("nextAgentFlow", &json!({"nodeId": "agentAgentflow_0", "nodeLabel": "Agent", "status": "INPROGRESS"})),
        block("token", &json!("")),
    ]
}

/// The blocks after the last token. `conversation` is repeated for each step of the flow, as the real one does.
pub(super) fn closing(chat_id: &str, text: &str, conversation: &Value) -> Vec<Bytes> {
    let step = json!({"nodeId": "agentAgentflow_0", "data": {"input": conversation, "output": {"content": text}}});
    // Larger than a client should hold.
    let steps = vec![step; 1 + 70_000 / (1 + conversation.to_string().len())];
    vec![
        block("agentFlowExecutedData", &Value::Array(steps)),
        block("agentFlowEvent", &json!("FINISHED")),
        block("usageMetadata", &json!({"input_tokens": 120, "output_tokens": 8, "total_tokens": 128})),
        block("metadata", &json!({"chatId": chat_id, "chatMessageId": "m-1", "sessionId": chat_id})),
        end(),
    ]
}

/// The last block.
pub(super) fn end() -> Bytes {
    block("end", &json!("[DONE]"))
}
