//! A CSV file to resources, row by row: bytes to text, the heading to places, each row to a resource or to what is wrong with it.

use std::io::BufRead;
use std::sync::Arc;

use super::csv::{Broken, Record, Records};
use super::declare::{Encoding, Mistakes};
use super::table::{Flaw, Places, Table};

const BOM: [u8; 3] = [0xef, 0xbb, 0xbf];

/// Bytes 80 to 9F of Windows-1252 (WHATWG Encoding, index windows-1252); those that it leaves out are no characters.
const HIGH: [Option<char>; 32] = [
    Some('\u{20ac}'),
    None,
    Some('\u{201a}'),
    Some('\u{192}'),
    Some('\u{201e}'),
    Some('\u{2026}'),
    Some('\u{2020}'),
    Some('\u{2021}'),
    Some('\u{2c6}'),
    Some('\u{2030}'),
    Some('\u{160}'),
    Some('\u{2039}'),
    Some('\u{152}'),
    None,
    Some('\u{17d}'),
    None,
    None,
    Some('\u{2018}'),
    Some('\u{2019}'),
    Some('\u{201c}'),
    Some('\u{201d}'),
    Some('\u{2022}'),
    Some('\u{2013}'),
    Some('\u{2014}'),
    Some('\u{2dc}'),
    Some('\u{2122}'),
    Some('\u{161}'),
    Some('\u{203a}'),
    Some('\u{153}'),
    None,
    Some('\u{17e}'),
    Some('\u{178}'),
];

/// One row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::sync) struct Row {
    /// The line it begins in, from 1.
    pub line: u64,
    /// Its logical id, where it has one.
    pub id: Option<String>,
    /// The resource as JSON; or what is wrong, and the row's own bytes.
    pub made: Result<String, (Vec<Flaw>, Vec<u8>)>,
    /// The file ends within it.
    pub cut_off: bool,
}

/// What the last row of a file says, where it is a trailer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Trailer {
    /// The number that it tells, where it can be read.
    pub told: Option<u64>,
}

/// A CSV file, being read.
pub(in crate::sync) struct Rows<R> {
    records: Records<R>,
    table: Arc<Table>,
    places: Result<Places, Mistakes>,
    /// Rows so far, the trailer apart.
    pub(super) count: u64,
    pub(super) trailer: Option<Trailer>,
    count_field: usize,
}

impl<R: BufRead> Rows<R> {
    /// Reads the heading.
    pub(in crate::sync) fn new(from: R, table: &Arc<Table>, count_field: usize) -> Self {
        let mut records = Records::new(from, table.delimiter);
        let mut heading = records.next();
        while heading.as_ref().is_some_and(Record::is_blank) {
            heading = records.next();
        }
        let places = heading.ok_or_else(|| Mistakes(vec!["the file is empty: it has no heading".to_owned()])).and_then(|mut record| {
            if let Some(first) = record.fields.first_mut() {
                if first.starts_with(&[0xff, 0xfe]) || first.starts_with(&[0xfe, 0xff]) {
                    return Err(Mistakes(vec!["the file is UTF-16: have it written as UTF-8 or Windows-1252".to_owned()]));
                }
                if first.starts_with(&BOM) {
                    first.drain(..BOM.len());
                    // A quote after the mark was taken for a character like any other.
                    if let [b'"', inner @ .., b'"'] = first.as_slice() {
                        *first = inner.to_vec();
                    }
                }
            }
            let names = record.fields.iter().map(|f| decode(f, table.encoding)).collect::<Option<Vec<_>>>();
            let names = names.ok_or_else(|| Mistakes(vec![not_text(table.encoding).to_owned()]))?;
            table.places(&names)
        });
        Self { records, table: Arc::clone(table), places, count: 0, trailer: None, count_field }
    }

    /// What is wrong with the heading.
    pub(super) fn heading(&self) -> Result<(), Mistakes> {
        self.places.as_ref().map(|_| ()).map_err(Clone::clone)
    }

    /// The next row; `None` at the end, and where the heading cannot be used.
    pub(in crate::sync) fn next(&mut self) -> Option<Row> {
        let Ok(places) = &self.places else { return None };
        loop {
            let record = self.records.next()?;
            if record.is_blank() {
                continue;
            }
            if let Some(marker) = &self.table.trailer
                && record.broken.is_none()
                && record.fields.first().is_some_and(|f| f.trim_ascii() == marker.as_bytes())
            {
                let told = record.fields.get(self.count_field.saturating_sub(1)).and_then(|f| std::str::from_utf8(f).ok());
                self.trailer = Some(Trailer { told: told.and_then(|t| t.trim().parse().ok()) });
                continue;
            }
            // What comes after a trailer makes it none.
            self.trailer = None;
            self.count += 1;
            return Some(row(&self.table, places, record));
        }
    }
}

fn row(table: &Table, places: &Places, record: Record) -> Row {
    let whole = |says: String| vec![Flaw { columns: String::new(), says }];
    let (line, last) = (record.line, record.last);
    let bad = |id, flaws, raw, cut_off| Row { line, id, made: Err((flaws, raw)), cut_off };
    match record.broken {
        Some(Broken::OpenQuote) => {
            let says = "a quote is opened and not closed: the file is cut off here, or the quote stands alone".to_owned();
            return bad(None, whole(says), record.raw, last);
        }
        Some(Broken::Unreadable) => {
            return bad(
                None,
                whole("the file is cut off or damaged here: it cannot be read on; fetch it again".to_owned()),
                record.raw,
                true,
            );
        }
        None => {}
    }
    if last && !table.open_end {
        let says =
            "the file ends here without a line end, as one does that is cut off; where the sender writes it so, declare open_end = true";
        return bad(None, whole(says.to_owned()), record.raw, true);
    }
    let Some(mut fields) = record.fields.iter().map(|f| decode(f, table.encoding)).collect::<Option<Vec<_>>>() else {
        return bad(None, whole(not_text(table.encoding).to_owned()), record.raw, false);
    };
    while fields.len() > places.width && fields.last().is_some_and(|f| f.trim().is_empty()) {
        fields.pop();
    }
    if fields.len() != places.width {
        let says = format!("the row has {} fields and the heading {}", fields.len(), places.width);
        let cut_off = last && fields.len() < places.width;
        return bad(None, whole(if cut_off { format!("{says}: the file is cut off here") } else { says }), record.raw, cut_off);
    }
    match table.resource(places, &fields) {
        Ok(resource) => Row { line, id: table.id(places, &fields), made: Ok(resource.to_string()), cut_off: false },
        Err(flaws) => bad(table.id(places, &fields), flaws, record.raw, false),
    }
}

const fn not_text(encoding: Encoding) -> &'static str {
    match encoding {
        Encoding::Utf8 => "not UTF-8: declare encoding = \"windows-1252\" where it is that",
        Encoding::Windows1252 => "a byte that is no character of Windows-1252",
    }
}

fn decode(bytes: &[u8], encoding: Encoding) -> Option<String> {
    match encoding {
        Encoding::Utf8 => std::str::from_utf8(bytes).ok().map(str::to_owned),
        Encoding::Windows1252 => bytes
            .iter()
            .map(|byte| match byte {
                0x80..=0x9f => HIGH.get(usize::from(byte - 0x80)).copied().flatten(),
                other => Some(char::from(*other)),
            })
            .collect(),
    }
}
