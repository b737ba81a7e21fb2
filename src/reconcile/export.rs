//! Parses a processor's export: CSV with a header line, whose columns are recognised by their usual names.

use std::io::Read;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::amount::{CurrencySign, ExportAmount};
use super::cells::{ExportMode, ExportStatus, RowKind, RowRefund, normalize, parse_yes_no};
use crate::payment::{Currency, PaymentId};

/// The largest file, in bytes, and the longest confirmation code, in characters.
const MAX_FILE_BYTES: u64 = 256 * 1024 * 1024;
const MAX_CODE_CHARS: usize = 128;

/// Column names, as [`normalize`] returns them.
const IDS: &[&str] = &[
    "id",
    "charge",
    "charge id",
    "transaction",
    "transaction id",
    "payment id",
    "payment intent id",
    "paymentintent id",
    "confirmation",
    "confirmation code",
    "confirmation number",
];
const AMOUNTS: &[&str] = &["amount", "gross", "gross amount", "transaction amount", "charge amount"];
const CURRENCIES: &[&str] = &["currency", "currency code", "amount currency", "transaction currency"];
const LAST_FOURS: &[&str] = &[
    "last4",
    "last 4",
    "last four",
    "card last4",
    "card last 4",
    "card last four",
    "card number",
    "masked card number",
    "card",
];
const TIMES: &[&str] = &[
    "created",
    "created utc",
    "created date",
    "created date utc",
    "created at",
    "date",
    "date utc",
    "transaction date",
    "transaction date utc",
    "timestamp",
];
const STATUSES: &[&str] = &["status", "state", "transaction status", "payment status"];

/// Names of columns that all count, as [`normalize`] returns them but without spaces.
const KINDS: &[&str] = &[
    "type",
    "kind",
    "transactiontype",
    "transactionkind",
    "transtype",
    "trantype",
    "recordtype",
    "entrytype",
    "reportingcategory",
    "operation",
];
const CAPTURED: &[&str] = &["captured", "iscaptured"];
const CAPTURED_AMOUNTS: &[&str] = &["amountcaptured", "capturedamount"];
const LIVE: &[&str] = &["livemode", "live", "islive", "mode", "environment"];
const TEST: &[&str] = &["test", "testmode", "istest"];
const REFUNDS: &[&str] = &[
    "amountrefunded",
    "refundedamount",
    "refundamount",
    "totalrefunded",
    "refunded",
    "isrefunded",
    "refundeddate",
    "refundeddateutc",
    "refundedat",
    "refundstatus",
];
const DISPUTES: &[&str] = &[
    "disputed",
    "dispute",
    "isdisputed",
    "disputedamount",
    "amountdisputed",
    "disputestatus",
    "disputedate",
    "disputedateutc",
    "chargeback",
];

/// One row of an export. `Debug` prints only the line number.
#[derive(Clone)]
pub struct ExportRow {
    /// The line of the file, counted from 1.
    pub line: u64,
    /// The UUIDs in its cells. Not all of them are payments of the ledger.
    pub ids: Vec<PaymentId>,
    /// The processor's identifiers, the most specific column first.
    pub confirmations: Vec<String>,
    /// The charged amount. It is unreadable if its currency is.
    pub amount: ExportAmount,
    /// The currency, if there is a column for it.
    pub currency: Option<Currency>,
    /// The currency that the cell of the amount names.
    pub sign: Option<CurrencySign>,
    /// The last four digits of the card.
    pub last4: Option<String>,
    /// When it was charged. A date without a time of day is ignored.
    pub at: Option<Timestamp>,
    /// The processor's status of the charge.
    pub status: ExportStatus,
    /// Whether another column contradicts the status.
    pub is_contradicted: bool,
    /// What the row records.
    pub kind: RowKind,
    /// Whether the whole amount is captured, or no column says otherwise.
    pub is_captured: bool,
    /// Whether the row is from live or test mode.
    pub mode: ExportMode,
    /// The refunded amount, by the columns next to the amount.
    pub refund: RowRefund,
}

/// Why an export cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadExportError {
    /// The CSV is invalid.
    #[error("the export cannot be read: {0}")]
    Csv(#[from] csv::Error),
    /// The file cannot be read.
    #[error("the export cannot be read: {0}")]
    Io(#[from] std::io::Error),
    /// The file is larger than 256 MiB.
    #[error("the export is larger than 256 MiB: split it by time")]
    TooLarge,
    /// The first line is not a header.
    #[error(
        "the first line names no amount column: it has to name the columns, such as id,amount,currency,last4,created,status"
    )]
    NoAmountColumn,
}

/// The positions of the columns.
#[derive(Debug)]
struct ExportColumns {
    ids: Vec<usize>,
    amount: usize,
    currency: Option<usize>,
    last4: Option<usize>,
    time: Option<usize>,
    statuses: Vec<usize>,
    kinds: Vec<usize>,
    captured: Vec<usize>,
    captured_amounts: Vec<usize>,
    live: Vec<usize>,
    test: Vec<usize>,
    refunds: Vec<usize>,
    disputes: Vec<usize>,
    /// Columns with ambiguous names. Their unknown values are ignored.
    ambiguous: Vec<usize>,
}

/// Parses an export. `minor`: its amounts are in minor units.
pub fn read_export(file: impl Read, minor: bool) -> Result<Vec<ExportRow>, ReadExportError> {
    let mut text = Vec::new();
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut text)?;
    if text.len() as u64 > MAX_FILE_BYTES {
        return Err(ReadExportError::TooLarge);
    }
    let header = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let mut reader =
        csv::ReaderBuilder::new().delimiter(detect_delimiter(header)).flexible(true).from_reader(text.as_slice());
    let columns = ExportColumns::find(reader.byte_headers()?)?;
    let (mut rows, mut line, mut counted) = (Vec::new(), 1, 0);
    for record in reader.byte_records() {
        let record = record?;
        // The reader's line number is that of the preceding line break.
        let start = record.position().and_then(|position| usize::try_from(position.byte()).ok()).unwrap_or(counted);
        let start = start + text[start..].iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        line += text[counted..start].split(|byte| *byte == b'\n').skip(1).count() as u64;
        counted = start;
        let cells: Vec<String> = record.iter().map(|cell| String::from_utf8_lossy(cell).trim().to_owned()).collect();
        if cells.iter().any(|cell| !cell.is_empty()) {
            rows.push(columns.read_row(line, &cells, minor));
        }
    }
    Ok(rows)
}

/// Detects the delimiter: the most frequent of tab, semicolon and comma in the header line.
fn detect_delimiter(header: &[u8]) -> u8 {
    let count = |delimiter: u8| header.split(|byte| *byte == delimiter).count();
    [b'\t', b';', b','].into_iter().max_by_key(|delimiter| count(*delimiter)).unwrap_or(b',')
}

impl ExportColumns {
    fn find(headers: &csv::ByteRecord) -> Result<Self, ReadExportError> {
        let names: Vec<String> = headers.iter().map(|name| normalize(&String::from_utf8_lossy(name))).collect();
        // If several columns have a usual name, the order of the list decides.
        let all = |known: &[&str]| -> Vec<usize> {
            known.iter().filter_map(|known| names.iter().position(|name| name == known)).collect()
        };
        let first = |known: &[&str]| all(known).first().copied();
        // Every column with one of the names counts, also two columns with the same name.
        let compact: Vec<String> = names.iter().map(|name| name.replace(' ', "")).collect();
        let every = |known: &[&str]| -> Vec<usize> {
            let places = |known: &&str| (0..compact.len()).filter(|at| compact[*at] == *known).collect::<Vec<_>>();
            known.iter().flat_map(places).collect()
        };
        Ok(Self {
            ids: all(IDS),
            amount: first(AMOUNTS).ok_or(ReadExportError::NoAmountColumn)?,
            currency: first(CURRENCIES),
            last4: first(LAST_FOURS),
            time: first(TIMES),
            statuses: all(STATUSES),
            kinds: every(KINDS),
            captured: every(CAPTURED),
            captured_amounts: every(CAPTURED_AMOUNTS),
            live: every(LIVE),
            test: every(TEST),
            refunds: every(REFUNDS),
            disputes: every(DISPUTES),
            ambiguous: every(&["mode", "environment"]),
        })
    }

    fn read_row(&self, line: u64, cells: &[String], minor: bool) -> ExportRow {
        let cell = |column: Option<usize>| column.and_then(|column| cells.get(column)).filter(|cell| !cell.is_empty());
        let mut ids: Vec<PaymentId> = cells.iter().flat_map(|cell| find_uuids(cell)).collect();
        ids.sort_unstable();
        ids.dedup();
        let confirmations = self.ids.iter().filter_map(|column| cell(Some(*column)));
        let cells_of = |columns: &[usize]| -> Vec<&str> {
            let texts = columns.iter().filter_map(|column| cell(Some(*column))).map(String::as_str);
            // "-" is an empty cell.
            texts.filter(|text| text.contains(char::is_alphanumeric)).collect()
        };
        let currency: Option<Result<Currency, _>> = cell(self.currency).map(|text| text.parse());
        let (amount, sign) = match (cell(Some(self.amount)), &currency) {
            (Some(text), None | Some(Ok(_))) => ExportAmount::read_cell(text, minor),
            _ => (ExportAmount::Unreadable, None),
        };
        let (status, is_contradicted) =
            ExportStatus::read_all(&cells_of(&self.statuses), &cells_of(&self.disputes), minor);
        let captures_all =
            cells_of(&self.captured_amounts).iter().all(|text| amount.is_same(&ExportAmount::read_cell(text, minor).0));
        let kind = RowKind::read_all(&cells_of(&self.kinds));
        let refund = match RowRefund::read_all(&cells_of(&self.refunds), minor) {
            beside if kind != RowKind::Refund || beside.is_any() => beside,
            _ => RowRefund::from_row_amount(cell(Some(self.amount)).map_or("", String::as_str), minor),
        };
        let mode = |columns: &[usize], is_test: bool| -> Vec<ExportMode> {
            let named =
                columns.iter().filter_map(|column| Some((self.ambiguous.contains(column), cell(Some(*column))?)));
            named.map(|(is_vague, text)| ExportMode::read(text, is_test, is_vague)).collect()
        };
        ExportRow {
            line,
            ids,
            confirmations: confirmations.filter(|code| code.chars().count() <= MAX_CODE_CHARS).cloned().collect(),
            is_captured: captures_all && cells_of(&self.captured).iter().all(|text| parse_yes_no(text) == Some(true)),
            amount,
            currency: currency.and_then(Result::ok),
            sign,
            last4: cell(self.last4).and_then(|text| parse_last4(text)),
            at: cell(self.time).and_then(|text| parse_time(text)),
            status,
            is_contradicted,
            kind,
            mode: ExportMode::combine(&[mode(&self.live, false), mode(&self.test, true)].concat()),
            refund,
        }
    }
}

/// Prints only the line number: no data of the card or the caller.
impl std::fmt::Debug for ExportRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Row").field("line", &self.line).finish_non_exhaustive()
    }
}

/// Finds all UUIDs in a text.
fn find_uuids(text: &str) -> Vec<PaymentId> {
    const LENGTH: usize = 36;
    let bytes = text.as_bytes();
    let is_hex = |at: Option<usize>| at.and_then(|at| bytes.get(at)).is_some_and(u8::is_ascii_hexdigit);
    let starts = 0..(bytes.len() + 1).saturating_sub(LENGTH);
    starts
        .filter(|start| !is_hex(start.checked_sub(1)) && !is_hex(Some(start + LENGTH)))
        .filter_map(|start| std::str::from_utf8(&bytes[start..start + LENGTH]).ok()?.parse().ok())
        .collect()
}

/// Parses the last four digits of a masked number, and restores leading zeros that spreadsheets drop.
fn parse_last4(text: &str) -> Option<String> {
    let end: Vec<char> = text.chars().rev().take_while(char::is_ascii_digit).take(4).collect();
    let digits: String = end.into_iter().rev().collect();
    (!digits.is_empty()).then(|| format!("{digits:0>4}"))
}

/// Parses a time: RFC 3339, a date and a time of day in UTC, or seconds since 1970.
fn parse_time(text: &str) -> Option<Timestamp> {
    if let Ok(seconds) = text.parse::<i64>() {
        return Timestamp::from_second(seconds).ok().filter(|_| text.len() >= 9);
    }
    if let Ok(moment) = text.parse::<Timestamp>() {
        return Some(moment);
    }
    let text = text.trim_end_matches("UTC").trim_end();
    let civil: DateTime = text.contains(':').then(|| text.parse().ok())??;
    civil.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ID: &str = "9a8f1282-65e4-5cf2-8b69-1b4cefccc055";

    fn read(text: &str) -> Vec<ExportRow> {
        read_export(text.as_bytes(), false).unwrap()
    }

    #[test]
    fn the_columns_of_usual_exports_are_recognised() {
        let stripe = format!(
            "\u{feff}id,Description,Created date (UTC),Amount,Amount Refunded,Currency,Card Last4,Status\r\n\
             ch_1,\"order-7, {ID}\",2026-11-22 12:00:05,25.00,0,usd,4242,Paid\r\n\r\n"
        );
        let other = format!(
            "Transaction ID;Memo;DATE;Amount;Currency Code;Card Number;Transaction Status\n\
             ch_1;{ID};2026-11-22T12:00:05Z;25;USD;XXXXXXXXXXXX4242;SETTLED\n"
        );
        for text in [stripe, other] {
            let [row] = &read(&text)[..] else { panic!("{text}") };
            assert_eq!((row.line, row.ids.as_slice()), (2, &[ID.parse().unwrap()][..]));
            assert_eq!(row.confirmations, ["ch_1"]);
            assert_eq!(row.amount.minor_in(Currency::USD), Some(2500));
            assert_eq!((row.currency, row.last4.as_deref()), (Some(Currency::USD), Some("4242")));
            assert_eq!(row.at, "2026-11-22T12:00:05Z".parse().ok());
            assert_eq!(row.status, ExportStatus::Paid);
        }
        assert!(matches!(read_export("ch_1,x\n".as_bytes(), false), Err(ReadExportError::NoAmountColumn)));
        assert!(matches!(read_export("".as_bytes(), false), Err(ReadExportError::NoAmountColumn)));
    }

    #[test]
    fn times_need_a_time_of_day() {
        for text in ["2026-11-22 12:00:05", "2026-11-22T14:00:05+02:00", "1795348805", "2026-11-22 12:00:05 UTC"] {
            assert_eq!(parse_time(text), "2026-11-22T12:00:05Z".parse().ok(), "{text}");
        }
        for text in ["2026-11-22", "11/22/2026 12:00", "20261122", "yesterday", ""] {
            assert_eq!(parse_time(text), None, "{text}");
        }
    }

    #[test]
    fn the_last_four_digits_of_a_masked_number_are_parsed() {
        for (text, digits) in
            [("xxxxxxxxxxxx4242", "4242"), ("Visa 4242", "4242"), ("42", "0042"), ("12344242", "4242")]
        {
            assert_eq!(parse_last4(text).as_deref(), Some(digits));
        }
        assert_eq!(parse_last4("4242xxxx"), None);
    }

    #[test]
    fn a_payment_id_is_found_anywhere_in_a_cell() {
        for text in [ID.to_owned(), format!("order-7 {ID}"), format!("{{\"crelay\":\"{ID}\"}}"), format!("é-{ID}-é")]
        {
            assert_eq!(find_uuids(&text), [ID.parse().unwrap()], "{text}");
        }
        assert!(find_uuids(&format!("a{ID}")).is_empty() && find_uuids(&ID[1..]).is_empty());
    }

    proptest! {
        #[test]
        fn no_file_panics(
            text in "(id|amount|status|date|last4|[,;\t\"\n\r.0-9é:TZ-]){0,40}",
            bytes in prop::collection::vec(any::<u8>(), 0..80),
            minor: bool,
        ) {
            let _ = read_export(text.as_bytes(), minor);
            let _ = read_export(format!("id,amount,date,last4,status\n{text}").as_bytes(), minor);
            let _ = read_export(&bytes[..], minor);
        }
    }
}
