//! CSV as hospitals write it (RFC 4180 and what is worse): records with their lines and bytes. A quoted field may hold delimiters, line ends
//! and doubled quotes; a quote elsewhere is a character like any other. Memory is bounded whatever a file holds.

use std::io::{self, BufRead};

/// The longest record that is taken. A quote that is never closed would else swallow the rest of a file.
const LONGEST: usize = 256 * 1024;

/// What is wrong with a record as such.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    /// A quote is opened and not closed; the line is taken by itself, and the next ones are read on.
    OpenQuote,
    /// The file could not be read on.
    Unreadable,
}

/// A record: a row, or the heading.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Record {
    /// The line it begins in, from 1.
    pub line: u64,
    /// Its bytes, without the line end.
    pub raw: Vec<u8>,
    /// Its fields, without their quotes.
    pub fields: Vec<Vec<u8>>,
    pub broken: Option<Broken>,
    /// The file ends with it, and without a line end.
    pub last: bool,
}

impl Record {
    /// Whether it says nothing: no field has more than spaces.
    pub(super) fn is_blank(&self) -> bool {
        self.broken.is_none() && self.fields.iter().all(|f| f.trim_ascii().is_empty())
    }
}

/// A file's records.
pub(super) struct Records<R> {
    from: R,
    delimiter: u8,
    /// Read already; what is before `taken` has been handed out.
    ahead: Vec<u8>,
    taken: usize,
    line: u64,
    ended: bool,
}

impl<R: BufRead> Records<R> {
    pub(super) const fn new(from: R, delimiter: u8) -> Self {
        Self { from, delimiter, ahead: Vec::new(), taken: 0, line: 1, ended: false }
    }

    /// The next record; `None` at the end.
    pub(super) fn next(&mut self) -> Option<Record> {
        let mut state = State::default();
        if self.taken >= self.ahead.len() || self.taken > LONGEST {
            self.ahead.drain(..self.taken.min(self.ahead.len()));
            self.taken = 0;
        }
        let mut scanned = self.taken;
        loop {
            while let Some(&byte) = self.ahead.get(scanned) {
                scanned += 1;
                if state.take(byte, self.delimiter) {
                    return Some(self.cut(scanned, state, None, false));
                }
            }
            if scanned - self.taken > LONGEST && state.quoted() {
                return Some(self.first_line());
            }
            let before = self.ahead.len();
            let read = match self.ended {
                true => Ok(0),
                false => io::Read::take(&mut self.from, LONGEST as u64).read_until(b'\n', &mut self.ahead),
            };
            match read {
                Ok(_) if self.ahead.len() > before => {}
                Ok(_) => {
                    self.ended = true;
                    if self.ahead.len() == self.taken {
                        return None;
                    }
                    if state.quoted() {
                        return Some(self.first_line());
                    }
                    state.end_field();
                    return Some(self.cut(scanned, state, None, true));
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => {
                    self.ended = true;
                    state.end_field();
                    return Some(self.cut(scanned, state, Some(Broken::Unreadable), true));
                }
            }
        }
    }

    /// The first line of what was read, as a record that is broken; the rest is read anew.
    fn first_line(&mut self) -> Record {
        let waiting = self.ahead.get(self.taken..).unwrap_or_default();
        let end = self.taken + waiting.iter().position(|b| *b == b'\n').map_or(waiting.len(), |at| at + 1);
        let last = self.ended && end == self.ahead.len() && self.ahead.last() != Some(&b'\n');
        self.cut(end, State::default(), Some(Broken::OpenQuote), last)
    }

    fn cut(&mut self, end: usize, state: State, broken: Option<Broken>, last: bool) -> Record {
        let mut raw = self.ahead.get(self.taken..end).unwrap_or_default().to_vec();
        self.taken = end;
        let line = self.line;
        self.line += raw.iter().filter(|b| **b == b'\n').count() as u64;
        while matches!(raw.last(), Some(b'\n' | b'\r')) {
            raw.pop();
        }
        Record { line, raw, fields: state.fields, broken, last }
    }
}

#[derive(Clone, Copy, Default, PartialEq)]
enum At {
    /// Nothing of the field was read.
    #[default]
    Start,
    Plain,
    Quoted,
    /// A quote within a quoted field: its end, or the first half of a doubled one.
    Quote,
}

#[derive(Default)]
struct State {
    at: At,
    field: Vec<u8>,
    fields: Vec<Vec<u8>>,
}

impl State {
    fn quoted(&self) -> bool {
        self.at == At::Quoted
    }

    fn end_field(&mut self) {
        let mut field = std::mem::take(&mut self.field);
        if self.at == At::Plain && field.last() == Some(&b'\r') {
            field.pop();
        }
        self.fields.push(field);
        self.at = At::Start;
    }

    /// Takes a byte; whether the record ends with it.
    fn take(&mut self, byte: u8, delimiter: u8) -> bool {
        match (self.at, byte) {
            (At::Quoted, b'"') => self.at = At::Quote,
            (At::Quoted, _) => self.field.push(byte),
            (At::Start, b'"') => self.at = At::Quoted,
            (At::Quote, b'"') => {
                self.field.push(b'"');
                self.at = At::Quoted;
            }
            (_, b'\n') => {
                self.end_field();
                return true;
            }
            (_, byte) if byte == delimiter => self.end_field(),
            // What follows a closing quote up to the delimiter: a line end, spaces, or a quote that should have been doubled.
            (At::Quote, b'\r' | b' ') => {}
            (At::Quote, _) => {
                self.field.extend([b'"', byte]);
                self.at = At::Plain;
            }
            (At::Start | At::Plain, _) => {
                self.field.push(byte);
                self.at = At::Plain;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Broken, Records};

    fn read(text: &str) -> Vec<(u64, Vec<String>, Option<Broken>)> {
        let mut records = Records::new(text.as_bytes(), b',');
        let mut all = Vec::new();
        while let Some(r) = records.next() {
            all.push((r.line, r.fields.into_iter().map(|f| String::from_utf8(f).unwrap()).collect(), r.broken));
        }
        all
    }

    fn good(line: u64, fields: &[&str]) -> (u64, Vec<String>, Option<Broken>) {
        (line, fields.iter().map(|f| (*f).to_owned()).collect(), None)
    }

    #[test]
    fn quotes_line_ends_and_what_is_worse() {
        for (text, expected) in [
            ("", vec![]),
            ("a,b\n1,2\n", vec![good(1, &["a", "b"]), good(2, &["1", "2"])]),
            ("a,b\r\n1,2", vec![good(1, &["a", "b"]), good(2, &["1", "2"])]),
            (
                "\"a,b\",\"c\"\"d\"\r\n\"x\ny\",z\r\nlast,\n",
                vec![good(1, &["a,b", "c\"d"]), good(2, &["x\ny", "z"]), good(4, &["last", ""])],
            ),
            ("5\" tall,b\n", vec![good(1, &["5\" tall", "b"])]),
            ("\"a\" ,b\n\"a\"x,b\n", vec![good(1, &["a", "b"]), good(2, &["a\"x", "b"])]),
            (",\n\n", vec![good(1, &["", ""]), good(2, &[""])]),
            ("a,\"\"\n", vec![good(1, &["a", ""])]),
            // A quote that is not closed costs its line and no other.
            ("1,\"open\n2,b\n3,c\n", vec![(1, vec![], Some(Broken::OpenQuote)), good(2, &["2", "b"]), good(3, &["3", "c"])]),
            ("1,a\n2,\"cut", vec![good(1, &["1", "a"]), (2, vec![], Some(Broken::OpenQuote))]),
        ] {
            assert_eq!(read(text), expected, "{text:?}");
        }
    }

    #[test]
    fn a_quote_that_is_never_closed_does_not_fill_the_memory() {
        let text = format!("1,\"open\n{}", "x,y\n".repeat(200_000));
        let all = read(&text);
        assert_eq!((all.len(), all[0].2, all[1].2), (200_001, Some(Broken::OpenQuote), None));
        assert_eq!(all.last().unwrap(), &good(200_001, &["x", "y"]));
    }

    proptest! {
        /// What is written by the rules is read as it was.
        #[test]
        fn what_is_written_is_read(rows in prop::collection::vec(prop::collection::vec("[a-c\",;\r\n ]{0,6}", 1..5), 0..8)) {
            let quote = |f: &String| format!("\"{}\"", f.replace('"', "\"\""));
            let text: String = rows.iter().map(|r| r.iter().map(quote).collect::<Vec<_>>().join(",") + "\r\n").collect();
            let found: Vec<Vec<String>> = read(&text).into_iter().map(|r| r.1).collect();
            prop_assert_eq!(found, rows);
        }

        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut records = Records::new(bytes.as_slice(), b';');
            let mut read = 0;
            while let Some(record) = records.next() {
                read += record.raw.len();
            }
            prop_assert!(read <= bytes.len());
        }
    }
}
