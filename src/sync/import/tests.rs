//! Cutting inputs into lines: bounds, gzip, damage. What becomes of the lines is tested against a database, in tests/it/sync.

use std::io::{Cursor, Write};
use std::sync::Arc;

use domain::fhir::MAX_RESOURCE_BYTES;
use flate2::Compression;
use flate2::write::GzEncoder;

use super::source::{Fault, Lines};

/// (number, text, fault) of each line.
fn lines(input: &[u8]) -> Vec<(u64, String, Option<Fault>)> {
    let label: Arc<str> = "test".into();
    let mut lines = Lines::new(&label, Cursor::new(input)).unwrap();
    let mut all = Vec::new();
    while let Some(batch) = lines.batch() {
        for line in &batch.lines {
            all.push((line.number, String::from_utf8_lossy(&batch.data[line.at.clone()]).into_owned(), line.fault.clone()));
        }
    }
    all
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn good(number: u64, text: &str) -> (u64, String, Option<Fault>) {
    (number, text.to_owned(), None)
}

#[test]
fn blank_lines_marks_and_line_ends_are_no_content() {
    let table: [(&[u8], Vec<_>); 8] = [
        (b"", vec![]),
        (b"\n\n  \r\n", vec![]),
        (b"a", vec![good(1, "a")]),
        (b"a\n", vec![good(1, "a")]),
        (b"a\r\n\r\nb", vec![good(1, "a"), good(3, "b")]),
        (b"  a \n\tb", vec![good(1, "a"), good(2, "b")]),
        (b"\xef\xbb\xbfa\nb", vec![good(1, "a"), good(2, "b")]),
        (b"\xef\xbb\xbf\na", vec![good(2, "a")]),
    ];
    for (input, expected) in table {
        assert_eq!(lines(input), expected, "{input:?}");
        assert_eq!(lines(&gzip(input)), expected, "gzipped {input:?}");
    }
}

#[test]
fn gzip_members_in_a_row_are_one_input() {
    let both = [gzip(b"a\nb"), gzip(b"c\nd\n")].concat();
    assert_eq!(lines(&both), [good(1, "a"), good(2, "bc"), good(3, "d")]);
}

#[test]
fn more_lines_than_a_batch_holds_keep_their_numbers() {
    let input: String = (1..=2_500).map(|n| format!("{n}\n")).collect();
    let all = lines(input.as_bytes());
    assert_eq!(all.len(), 2_500);
    assert!(all.iter().all(|(number, text, fault)| *text == number.to_string() && fault.is_none()));
}

#[test]
fn a_line_that_is_too_long_is_cut_and_reading_goes_on_behind_it() {
    let long = 20 << 20;
    let mut input = b"a\n".to_vec();
    input.resize(input.len() + long, b'x');
    input.extend(b"\nb\n");
    let all = lines(&input);
    assert_eq!(all.len(), 3);
    assert_eq!((all[1].0, all[1].1.len(), all[1].2.clone()), (2, MAX_RESOURCE_BYTES, Some(Fault::TooLong(long as u64 + 1))));
    assert_eq!((&all[0], &all[2]), (&good(1, "a"), &good(3, "b")));
}

#[test]
fn a_line_of_the_greatest_length_is_whole() {
    let mut input = vec![b'x'; MAX_RESOURCE_BYTES];
    input.extend(b"\nb");
    let all = lines(&input);
    assert_eq!((all[0].1.len(), all[0].2.clone()), (MAX_RESOURCE_BYTES, None));
    assert_eq!(all[1], good(2, "b"));
}

#[test]
fn a_gzip_cut_at_any_byte_gives_the_lines_before_and_one_fault() {
    let text: String = (0..300).map(|n| format!("line {n} {}\n", n * 7919 % 1009)).collect();
    let whole = gzip(text.as_bytes());
    for cut in (2..whole.len()).step_by(13) {
        let all = lines(&whole[..cut]);
        let (last, before) = all.split_last().unwrap();
        assert_eq!(last.2, Some(Fault::CutOff), "cut at {cut}");
        assert!(before.iter().all(|line| line.2.is_none()));
        assert!(before.iter().zip(text.lines()).all(|(line, expected)| line.1 == expected), "cut at {cut}");
        assert_eq!(last.0, before.len() as u64 + 1);
    }
}

#[test]
fn damage_inside_a_gzip_is_told_and_ends_the_input() {
    let text: String = (0..300).map(|n| format!("line {n} {}\n", n * 7919 % 1009)).collect();
    let mut bytes = gzip(text.as_bytes());
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    let all = lines(&bytes);
    assert_eq!(all.iter().filter(|line| line.2.is_some()).count(), 1);
    assert!(matches!(all.last().unwrap().2, Some(Fault::Damaged | Fault::CutOff)));
}
