//! Matches the ledger with a processor's export: what is the same payment, what can be settled, what disagrees.
//!
//! Pure: the rows and the payments are arguments, and the settlements are left to the caller.

mod export;

pub use export::{ExportAmount, ExportStatus, ReadExportError, Row, read_export};
