//! A list as CSV (RFC 4180), for a spreadsheet that a person opens: no cell can be taken for a formula there.

use actix_web::HttpResponse;
use actix_web::http::header;

use super::{Cell, Column, Row};

/// What a spreadsheet takes for the beginning of a formula (OWASP, "CSV Injection"), also behind blanks.
const FORMULA: [char; 6] = ['=', '+', '-', '@', '\t', '\r'];

pub(super) fn response(file: &str, columns: &[Column], rows: &[Row]) -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/csv; charset=utf-8; header=present")
        .insert_header((header::CONTENT_DISPOSITION, format!("attachment; filename=\"{file}.csv\"")))
        .body(text(columns, rows))
}

pub(super) fn text(columns: &[Column], rows: &[Row]) -> String {
    let mut out = String::new();
    line(&mut out, columns.iter().map(|c| quoted(c.name)));
    for row in rows {
        line(&mut out, row.cells.iter().map(cell));
    }
    out
}

fn line(out: &mut String, cells: impl Iterator<Item = String>) {
    out.push_str(&cells.collect::<Vec<_>>().join(","));
    out.push_str("\r\n");
}

fn cell(cell: &Cell) -> String {
    match cell {
        // Digits and nothing else: a minus is a number's.
        Cell::Number(n) => n.to_string(),
        other => quoted(&other.plain()),
    }
}

fn quoted(words: &str) -> String {
    let guard = if words.trim_start_matches([' ', '\n']).starts_with(FORMULA) { "'" } else { "" };
    format!("\"{guard}{}\"", words.replace('"', "\"\""))
}
