//! A rule's text to tokens. A character that has no place in a rule is told and left out, so that the rest is still read.

use crate::model::time::FhirTime;

use super::mistake::{MAX_MISTAKES, Mistake};
use super::syntax::Comparison;

/// A token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Token {
    /// A name or a keyword.
    Word(String),
    /// A whole number.
    Integer(i64),
    /// A quoted text.
    Text(String),
    /// A date or an instant.
    Time(FhirTime),
    /// A comparison sign.
    Sign(Comparison),
    /// `(`
    Open,
    /// `)`
    Close,
    /// `,`
    Comma,
}

/// Tokens with the byte where each begins, and the mistakes on the way.
pub fn lex(text: &str) -> (Vec<(Token, usize)>, Vec<Mistake>) {
    let mut lexer = Lexer { text, at: 0, tokens: Vec::new(), mistakes: Vec::new() };
    while let Some(c) = lexer.peek()
        && lexer.mistakes.len() < MAX_MISTAKES
    {
        lexer.token(c);
    }
    (lexer.tokens, lexer.mistakes)
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
    tokens: Vec<(Token, usize)>,
    mistakes: Vec<Mistake>,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    /// Takes the longest run of characters that `belongs` accepts.
    fn run(&mut self, belongs: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let run = rest.get(..rest.find(|c| !belongs(c)).unwrap_or(rest.len())).unwrap_or_default();
        self.at += run.len();
        run
    }

    fn push(&mut self, token: Token, start: usize) {
        self.tokens.push((token, start));
    }

    fn mistake(&mut self, at: usize, message: impl Into<String>) {
        self.mistakes.push(Mistake::at(self.text, at, message));
    }

    fn token(&mut self, c: char) {
        let start = self.at;
        match c {
            c if c.is_whitespace() => {
                self.run(char::is_whitespace);
            }
            '(' | ')' | ',' => {
                self.at += 1;
                self.push(
                    if c == '(' {
                        Token::Open
                    } else if c == ')' {
                        Token::Close
                    } else {
                        Token::Comma
                    },
                    start,
                );
            }
            '=' | '!' | '<' | '>' => self.sign(start),
            '"' => self.quoted(start),
            '-' | '0'..='9' => self.number_or_time(start),
            c if c.is_ascii_alphabetic() || c == '_' => {
                let word = self.run(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-')).to_owned();
                self.push(Token::Word(word), start);
            }
            other => {
                self.at += other.len_utf8();
                let hint = if matches!(other, '\'' | '\u{201c}' | '\u{201d}') { "; write texts in straight double quotes" } else { "" };
                self.mistake(start, format!("the character {other:?} has no place in a rule{hint}"));
            }
        }
    }

    fn sign(&mut self, start: usize) {
        let run = self.run(|c| matches!(c, '=' | '!' | '<' | '>'));
        match Comparison::parse(run) {
            Some(sign) => self.push(Token::Sign(sign), start),
            None => {
                let meant = match run {
                    "==" => "; write `=`",
                    "<>" | "!" => "; write `!=` to compare, `not` to negate",
                    "=<" => "; write `<=`",
                    "=>" => "; write `>=`",
                    _ => "; there are = != < <= > >=",
                };
                self.mistake(start, format!("`{run}` is not a comparison{meant}"));
                // Read on as if it were one, so that what follows is checked too.
                self.push(Token::Sign(Comparison::Equal), start);
            }
        }
    }

    fn quoted(&mut self, start: usize) {
        self.at += 1;
        let mut value = String::new();
        loop {
            let plain = self.run(|c| !matches!(c, '"' | '\\' | '\n'));
            value.push_str(plain);
            match self.peek() {
                Some('"') => {
                    self.at += 1;
                    break;
                }
                Some('\\') => self.escape(&mut value),
                _ => {
                    self.mistake(start, "this text has no closing quote on its line");
                    break;
                }
            }
        }
        self.push(Token::Text(value), start);
    }

    /// `\"`, `\\`, `\u{e9}`.
    fn escape(&mut self, value: &mut String) {
        let start = self.at;
        self.at += 1;
        let escaped = self.peek();
        match escaped {
            Some(c @ ('"' | '\\')) => {
                self.at += 1;
                value.push(c);
            }
            Some('u') => {
                self.at += 1;
                let braced = self.run(|c| c == '{' || c.is_ascii_hexdigit());
                let closed = self.peek() == Some('}');
                self.at += usize::from(closed);
                let code = braced.strip_prefix('{').filter(|_| closed).and_then(|hex| u32::from_str_radix(hex, 16).ok());
                match code.and_then(char::from_u32) {
                    Some(c) => value.push(c),
                    None => self.mistake(start, "a character's code is written \\u{e9}"),
                }
            }
            _ => self.mistake(start, "after a backslash there may be \", \\ or u{...}"),
        }
    }

    fn number_or_time(&mut self, start: usize) {
        let bytes = self.rest().as_bytes();
        let is_date = bytes.get(..5).is_some_and(|b| b.iter().take(4).all(u8::is_ascii_digit) && b.last() == Some(&b'-'));
        if is_date {
            let run = self.run(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | ':' | '.' | '+'));
            match FhirTime::parse(run) {
                Some(time) => self.push(Token::Time(time), start),
                None => {
                    self.mistake(start, format!("`{run}` is not a date that exists; write 2026-11, 2026-11-23 or 2026-11-23T10:00:00Z"));
                    self.push(Token::Time(FhirTime::Month(2000, 1)), start);
                }
            }
            return;
        }
        let sign = if self.peek() == Some('-') { 1 } else { 0 };
        self.at += sign;
        let digits = self.run(|c| c.is_ascii_digit());
        let Some(number) = self.text.get(start..self.at).and_then(|t| t.parse().ok()) else {
            let said = if digits.is_empty() { "a number has digits" } else { "this number is too large" };
            self.mistake(start, said);
            return self.push(Token::Integer(1), start);
        };
        if self.peek() == Some('.') {
            self.run(|c| c == '.' || c.is_ascii_digit());
            self.mistake(start, "only whole numbers are compared here");
        }
        self.push(Token::Integer(number), start);
    }
}
