//! The receipt that the server sends by text message after a payment: what the caller is told about it.

use super::tool::{ReceiptNews, Tool, ToolOutcome};
use super::turn::ToolOrigin;
use super::{Call, prompts};
use crate::ids::PaymentSid;
use crate::payment::{PaymentState, UpdateAction};

impl Call {
    /// Makes a submission record that the caller gets a receipt, in the present language. From then on the ledger knows what
    /// is to be sent, whatever becomes of the call.
    pub(super) fn promise_receipt(&self, tool: &mut Tool) {
        if let Tool::UpdatePayment(update) = tool
            && update.action == UpdateAction::Complete
            && self.settings.sends_receipts
        {
            update.receipt_language = Some(self.language().to_owned());
        }
    }

    /// Sends the receipt of a payment that has reached this state, if the caller gets one. Returns whether it does.
    pub(super) fn send_receipt(&mut self, sid: &PaymentSid, state: PaymentState) -> bool {
        let is_due = self.settings.sends_receipts && matches!(state, PaymentState::Charged | PaymentState::Tokenized);
        if is_due {
            self.run_tool(ToolOrigin::Server, Tool::SendReceipt(sid.clone()));
        }
        is_due
    }

    /// Applies the outcome of the receipt that the call has sent.
    pub(super) fn finish_receipt(&mut self, outcome: &ToolOutcome) -> String {
        self.learn_receipt(if let ToolOutcome::Receipt(news) = outcome { *news } else { ReceiptNews::Unknown });
        String::new()
    }

    /// Tells the model about a receipt. The caller hears that it was sent only after Twilio took it, and nothing is promised to a
    /// number that takes none. A goodbye that was said is not said again for it.
    pub(super) fn learn_receipt(&mut self, news: ReceiptNews) {
        self.note(prompts::receipt_news(news));
        if matches!(news, ReceiptNews::Sent | ReceiptNews::NoTextMessages) {
            self.guided_flow.record_receipt(news);
            if !self.phase.is_closing() {
                self.turn.require_response();
            }
        }
    }
}
