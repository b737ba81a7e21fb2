//! Reads a processor's export: CSV with a header line, whose columns are recognised by their usual names.

use std::io::Read;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::payment::{Amount, Currency, PaymentId};
use crate::redact::without_card_numbers;

/// The largest file, in bytes, and the longest confirmation code, in characters.
const MAX_FILE: u64 = 256 * 1024 * 1024;
const MAX_CODE: usize = 128;

/// Names of columns, as [`normalize`] leaves them.
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

/// One row of an export. `Debug` shows the line alone.
#[derive(Clone)]
pub struct Row {
    /// The line of the file, counted from 1.
    pub line: u64,
    /// The UUIDs in its cells. Not all of them are payments of the ledger.
    pub ids: Vec<PaymentId>,
    /// The processor's identifiers, the most specific column first.
    pub confirmations: Vec<String>,
    /// What was charged.
    pub amount: ExportAmount,
    /// The currency, where there is a column for it.
    pub currency: Option<Currency>,
    /// The last four digits of the card.
    pub last4: Option<String>,
    /// When it was charged. A date without a time of day is none.
    pub at: Option<Timestamp>,
    /// What the processor says of it.
    pub status: ExportStatus,
}

/// The amount of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExportAmount {
    /// Decimal text in major units.
    Major(String),
    /// Minor units.
    Minor(u64),
    /// There is no column, or its text is no amount.
    Unreadable,
}

/// What a processor says of a charge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExportStatus {
    /// It was paid.
    Paid,
    /// It was not paid.
    Failed,
    /// A bank debit came back.
    Returned,
    /// It was paid and refunded, in whole or in part.
    Refunded,
    /// It was paid, and is disputed.
    Disputed,
    /// It is not known yet.
    Pending,
    /// Another word, or none.
    Other(String),
}

/// Why an export cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadExportError {
    /// The file, or its CSV.
    #[error("the export cannot be read: {0}")]
    Csv(#[from] csv::Error),
    /// The file.
    #[error("the export cannot be read: {0}")]
    Io(#[from] std::io::Error),
    /// The file is larger than 256 MiB.
    #[error("the export is larger than 256 MiB: split it by time")]
    TooLarge,
    /// The first line is no header.
    #[error(
        "the first line names no amount column: it has to name the columns, such as id,amount,currency,last4,created,status"
    )]
    NoAmountColumn,
}

/// Where the columns are.
#[derive(Debug)]
struct Columns {
    ids: Vec<usize>,
    amount: usize,
    currency: Option<usize>,
    last4: Option<usize>,
    time: Option<usize>,
    status: Option<usize>,
}

/// Reads an export; `minor` says that its amounts are in minor units.
pub fn read_export(file: impl Read, minor: bool) -> Result<Vec<Row>, ReadExportError> {
    let mut text = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut text)?;
    if text.len() as u64 > MAX_FILE {
        return Err(ReadExportError::TooLarge);
    }
    let header = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let mut reader = csv::ReaderBuilder::new().delimiter(delimiter(header)).flexible(true).from_reader(text.as_slice());
    let columns = Columns::find(reader.byte_headers()?)?;
    let (mut rows, mut line, mut counted) = (Vec::new(), 1, 0);
    for record in reader.byte_records() {
        let record = record?;
        // The reader's own line is that of the line break before.
        let start = record.position().and_then(|position| usize::try_from(position.byte()).ok()).unwrap_or(counted);
        let start = start + text[start..].iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        line += text[counted..start].split(|byte| *byte == b'\n').skip(1).count() as u64;
        counted = start;
        let cells: Vec<String> = record.iter().map(|cell| String::from_utf8_lossy(cell).trim().to_owned()).collect();
        if cells.iter().any(|cell| !cell.is_empty()) {
            rows.push(columns.row(line, &cells, minor));
        }
    }
    Ok(rows)
}

/// What separates the cells: the most frequent of the usual ones in the header line.
fn delimiter(header: &[u8]) -> u8 {
    let count = |delimiter: u8| header.split(|byte| *byte == delimiter).count();
    [b'\t', b';', b','].into_iter().max_by_key(|delimiter| count(*delimiter)).unwrap_or(b',')
}

impl Columns {
    fn find(headers: &csv::ByteRecord) -> Result<Self, ReadExportError> {
        let names: Vec<String> = headers.iter().map(|name| normalize(&String::from_utf8_lossy(name))).collect();
        // The order of the list says which column is meant where several have a usual name.
        let all = |known: &[&str]| -> Vec<usize> {
            known.iter().filter_map(|known| names.iter().position(|name| name == known)).collect()
        };
        let first = |known: &[&str]| all(known).first().copied();
        Ok(Self {
            ids: all(IDS),
            amount: first(AMOUNTS).ok_or(ReadExportError::NoAmountColumn)?,
            currency: first(CURRENCIES),
            last4: first(LAST_FOURS),
            time: first(TIMES),
            status: first(STATUSES),
        })
    }

    fn row(&self, line: u64, cells: &[String], minor: bool) -> Row {
        let cell = |column: Option<usize>| column.and_then(|column| cells.get(column)).filter(|cell| !cell.is_empty());
        let mut ids: Vec<PaymentId> = cells.iter().flat_map(|cell| uuids(cell)).collect();
        ids.sort_unstable();
        ids.dedup();
        let confirmations = self.ids.iter().filter_map(|column| cell(Some(*column)));
        Row {
            line,
            ids,
            confirmations: confirmations.filter(|code| code.chars().count() <= MAX_CODE).cloned().collect(),
            amount: cell(Some(self.amount)).map_or(ExportAmount::Unreadable, |text| ExportAmount::read(text, minor)),
            currency: cell(self.currency).and_then(|text| text.parse().ok()),
            last4: cell(self.last4).and_then(|text| last4(text)),
            at: cell(self.time).and_then(|text| time(text)),
            status: ExportStatus::read(cell(self.status).map_or("", String::as_str)),
        }
    }
}

impl ExportAmount {
    fn read(text: &str, minor: bool) -> Self {
        let text = text.trim_matches(|c: char| c.is_whitespace() || "$€£¥".contains(c));
        if minor {
            return text.parse().map_or(Self::Unreadable, Self::Minor);
        }
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let mut groups = whole.split(',');
        let first = groups.next().unwrap_or_default();
        // "1,234.56" and no other commas: "25,00" may be 25 or 2500.
        let grouped = !whole.contains(',') || ((1..=3).contains(&first.len()) && groups.all(|group| group.len() == 3));
        let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        let whole = whole.replace(',', "");
        if !grouped || whole.is_empty() || !digits(&whole) || !digits(fraction) {
            return Self::Unreadable;
        }
        Self::Major(if fraction.is_empty() { whole } else { format!("{whole}.{fraction}") })
    }

    /// The amount in a currency, in minor units.
    pub fn minor_in(&self, currency: Currency) -> Option<u64> {
        match self {
            Self::Major(text) => Amount::parse(text, currency).ok().flatten().map(Amount::minor),
            Self::Minor(minor) => Some(*minor),
            Self::Unreadable => None,
        }
    }
}

impl ExportStatus {
    fn read(text: &str) -> Self {
        match normalize(text).as_str() {
            "succeeded" | "success" | "successful" | "paid" | "captured" | "settled" | "complete" | "completed" => {
                Self::Paid
            }
            "failed" | "failure" | "declined" => Self::Failed,
            "returned" => Self::Returned,
            "refunded" | "partially refunded" | "partial refund" => Self::Refunded,
            "disputed" | "chargeback" | "charged back" => Self::Disputed,
            "pending" | "processing" => Self::Pending,
            // Columns may be out of place.
            other => Self::Other(without_card_numbers(other).chars().take(32).collect()),
        }
    }
}

impl std::fmt::Display for ExportStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Paid => "paid",
            Self::Failed => "failed",
            Self::Returned => "returned",
            Self::Refunded => "refunded",
            Self::Disputed => "disputed",
            Self::Pending => "pending",
            Self::Other(word) if word.is_empty() => "nothing",
            Self::Other(word) => return write!(f, "{word:?}"),
        })
    }
}

/// The line, and nothing of the card or the caller.
impl std::fmt::Debug for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Row").field("line", &self.line).finish_non_exhaustive()
    }
}

/// A name in lower case, its words separated by one space: `Created_at (UTC)` is `created at utc`.
fn normalize(name: &str) -> String {
    let words = name.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ").to_lowercase()
}

/// The UUIDs in a text, wherever they stand.
fn uuids(text: &str) -> Vec<PaymentId> {
    const LENGTH: usize = 36;
    let bytes = text.as_bytes();
    let is_hex = |at: Option<usize>| at.and_then(|at| bytes.get(at)).is_some_and(u8::is_ascii_hexdigit);
    let starts = 0..(bytes.len() + 1).saturating_sub(LENGTH);
    starts
        .filter(|start| !is_hex(start.checked_sub(1)) && !is_hex(Some(start + LENGTH)))
        .filter_map(|start| std::str::from_utf8(&bytes[start..start + LENGTH]).ok()?.parse().ok())
        .collect()
}

/// The last four digits of a masked number. A spreadsheet drops the zeros that a number begins with.
fn last4(text: &str) -> Option<String> {
    let end: Vec<char> = text.chars().rev().take_while(char::is_ascii_digit).take(4).collect();
    let digits: String = end.into_iter().rev().collect();
    (!digits.is_empty()).then(|| format!("{digits:0>4}"))
}

/// A time: RFC 3339, a date and a time of day in UTC, or seconds since 1970.
fn time(text: &str) -> Option<Timestamp> {
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

    fn read(text: &str) -> Vec<Row> {
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
    fn amounts_that_may_mean_two_things_are_no_amounts() {
        for (text, minor) in [("25", 2500), ("$1,234.5", 123_450), ("1,234,567.00", 0), ("0.10", 10)] {
            assert_eq!(ExportAmount::read(text, false).minor_in(Currency::USD).unwrap_or(0), minor, "{text}");
        }
        for text in ["25,00", "1,23", "-25.00", "(25.00)", "25.00.00", "25.001", "", "1e3", ",250"] {
            assert_eq!(ExportAmount::read(text, false).minor_in(Currency::USD), None, "{text}");
        }
        assert_eq!(ExportAmount::read("2500", true).minor_in(Currency::USD), Some(2500));
        assert_eq!(ExportAmount::read("25.00", true), ExportAmount::Unreadable);
    }

    #[test]
    fn times_have_a_time_of_day() {
        for text in ["2026-11-22 12:00:05", "2026-11-22T14:00:05+02:00", "1795348805", "2026-11-22 12:00:05 UTC"] {
            assert_eq!(time(text), "2026-11-22T12:00:05Z".parse().ok(), "{text}");
        }
        for text in ["2026-11-22", "11/22/2026 12:00", "20261122", "yesterday", ""] {
            assert_eq!(time(text), None, "{text}");
        }
    }

    #[test]
    fn a_masked_number_ends_in_four_digits() {
        for (text, digits) in
            [("xxxxxxxxxxxx4242", "4242"), ("Visa 4242", "4242"), ("42", "0042"), ("12344242", "4242")]
        {
            assert_eq!(last4(text).as_deref(), Some(digits));
        }
        assert_eq!(last4("4242xxxx"), None);
    }

    #[test]
    fn a_payment_id_is_found_anywhere_in_a_cell() {
        for text in [ID.to_owned(), format!("order-7 {ID}"), format!("{{\"crelay\":\"{ID}\"}}"), format!("é-{ID}-é")]
        {
            assert_eq!(uuids(&text), [ID.parse().unwrap()], "{text}");
        }
        assert!(uuids(&format!("a{ID}")).is_empty() && uuids(&ID[1..]).is_empty());
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
