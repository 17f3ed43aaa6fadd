//! Tokens to a tree. After a mistake the parser reads on at the next `and`, `or` or `)`, so that all mistakes are told at once.

use super::duration::{Duration, Unit};
use super::lexer::{Token, lex};
use super::mistake::{MAX_MISTAKES, Mistake, suggestion};
use super::syntax::{At, Expr, Literal, MAX_BYTES, MAX_DEPTH, Name, Operand, Predicate, Selector, Test, is_segment_id};

const KEYWORDS: [&str; 12] = ["and", "or", "not", "of", "in", "last", "within", "older", "than", "exists", "segment", "true"];

/// Reads a rule.
///
/// # Errors
/// Every mistake in the text, with line and column.
pub fn parse(text: &str) -> Result<Expr, Vec<Mistake>> {
    match parse_leniently(text) {
        (expr, mistakes) if mistakes.is_empty() => Ok(expr),
        (_, mistakes) => Err(mistakes),
    }
}

/// Reads as much as can be read: what could not is `true` in the tree, so that the rest can be checked too.
pub(super) fn parse_leniently(text: &str) -> (Expr, Vec<Mistake>) {
    if text.len() > MAX_BYTES {
        let message =
            format!("a rule has at most {MAX_BYTES} bytes and this one has {}; make segments of its parts and combine them", text.len());
        return (Expr::Constant(true), vec![Mistake::new(message)]);
    }
    let (tokens, mistakes) = lex(text);
    let mut parser = Parser { text, tokens: &tokens, next: 0, depth: 0, silent: false, mistakes };
    let expr = parser.rule();
    (expr, parser.mistakes)
}

struct Parser<'a> {
    text: &'a str,
    tokens: &'a [(Token, usize)],
    next: usize,
    depth: usize,
    silent: bool,
    mistakes: Vec<Mistake>,
}

/// The mistake was told; read on at the next place that is certain.
struct Lost;

impl<'a> Parser<'a> {
    fn peek(&self) -> Option<&'a Token> {
        self.tokens.get(self.next).map(|(token, _)| token)
    }

    fn at(&self) -> usize {
        self.tokens.get(self.next).map_or(self.text.len(), |(_, at)| *at)
    }

    fn is_word(&self, wanted: &str) -> bool {
        matches!(self.peek(), Some(Token::Word(word)) if word == wanted)
    }

    fn eat_word(&mut self, wanted: &str) -> bool {
        let found = self.is_word(wanted);
        self.next += usize::from(found);
        found
    }

    fn eat(&mut self, wanted: &Token) -> bool {
        let found = self.peek() == Some(wanted);
        self.next += usize::from(found);
        found
    }

    fn mistake(&mut self, at: usize, message: impl Into<String>) -> Lost {
        if !self.silent {
            self.mistakes.push(Mistake::at(self.text, at, message));
            if self.mistakes.len() >= MAX_MISTAKES {
                self.give_up();
            }
        }
        Lost
    }

    /// Reads no further and is silent about what is missing then.
    fn give_up(&mut self) {
        self.silent = true;
        self.next = self.tokens.len();
    }

    fn rule(&mut self) -> Expr {
        if self.tokens.is_empty() && self.mistakes.is_empty() {
            self.mistake(0, "the rule is empty; write a test, as in `age >= 65`");
            return Expr::Constant(true);
        }
        let mut expr = self.any();
        while let Some(token) = self.peek() {
            let at = self.at();
            match token {
                Token::Close => self.mistake(at, "this `)` closes nothing"),
                Token::Word(word) => {
                    let meant = suggestion(word, ["and", "or"]);
                    self.mistake(at, format!("`{word}` cannot follow here: join tests with `and` or `or`{meant}"))
                }
                _ => self.mistake(at, "this cannot follow here: join tests with `and` or `or`"),
            };
            self.next += 1;
            self.skip_to_joint();
            // The joint itself, so that what follows it is read.
            if self.eat_word("and") || self.eat_word("or") {
                expr = Expr::All(vec![expr, self.any()]);
            }
        }
        expr
    }

    fn skip_to_joint(&mut self) {
        while self.peek().is_some_and(|t| *t != Token::Close) && !self.is_word("and") && !self.is_word("or") {
            self.next += 1;
        }
    }

    fn any(&mut self) -> Expr {
        let mut parts = vec![self.all()];
        while self.eat_word("or") {
            parts.push(self.all());
        }
        only(parts, Expr::Any)
    }

    fn all(&mut self) -> Expr {
        let mut parts = vec![self.part()];
        while self.eat_word("and") {
            parts.push(self.part());
        }
        only(parts, Expr::All)
    }

    fn part(&mut self) -> Expr {
        let at = self.at();
        if self.eat_word("not") {
            return self.nested(at, |p| Expr::Not(Box::new(p.part())));
        }
        if self.eat(&Token::Open) {
            return self.nested(at, |p| {
                let inner = p.any();
                if !p.eat(&Token::Close) {
                    p.mistake(at, "this `(` is not closed");
                    p.skip_to_joint();
                    p.eat(&Token::Close);
                }
                inner
            });
        }
        self.leaf().unwrap_or_else(|Lost| {
            self.skip_to_joint();
            Expr::Constant(true)
        })
    }

    fn nested(&mut self, at: usize, inner: impl FnOnce(&mut Self) -> Expr) -> Expr {
        if self.depth == MAX_DEPTH {
            self.mistake(at, format!("nested deeper than {MAX_DEPTH}; make a segment of the inner part and refer to it"));
            self.give_up();
            return Expr::Constant(true);
        }
        self.depth += 1;
        let expr = inner(self);
        self.depth -= 1;
        expr
    }

    fn leaf(&mut self) -> Result<Expr, Lost> {
        let at = self.at();
        if self.eat_word("true") {
            return Ok(Expr::Constant(true));
        }
        if self.eat_word("false") {
            return Ok(Expr::Constant(false));
        }
        if self.is_word("segment") && self.tokens.get(self.next + 1).is_some_and(|(t, _)| *t == Token::Open) {
            self.next += 2;
            return self.reference();
        }
        if self.eat_word("exists") {
            let attribute = self.name("`exists` is followed by an attribute")?;
            let of = self.selector()?;
            let period = self.period()?;
            return Ok(Expr::Test(Test { attribute, of, period, predicate: Predicate::Exists }));
        }
        match self.peek() {
            None => Err(self.mistake(at, "a test is missing here, at the end")),
            Some(Token::Word(word)) if matches!(word.as_str(), "and" | "or") => {
                Err(self.mistake(at, format!("a test is missing before `{word}`")))
            }
            Some(Token::Close) => Err(self.mistake(at, "a test is missing before `)`")),
            Some(_) => self.test(),
        }
    }

    fn name(&mut self, otherwise: &str) -> Result<Name, Lost> {
        let at = self.at();
        match self.peek() {
            Some(Token::Word(word)) if !KEYWORDS.contains(&word.as_str()) => {
                self.next += 1;
                Ok(Name { text: word.clone(), at: At(at) })
            }
            _ => Err(self.mistake(at, otherwise)),
        }
    }

    fn reference(&mut self) -> Result<Expr, Lost> {
        let name = self.name("`segment(` is followed by the id of a segment, as in `segment(lapsed)`")?;
        if !is_segment_id(&name.text) {
            self.mistake(name.at.0, format!("`{}` is not the id of a segment: lower-case letters, digits and `-`", name.text));
        }
        let at = self.at();
        if self.eat(&Token::Close) { Ok(Expr::Segment(name)) } else { Err(self.mistake(at, "`segment(` wants one id and a `)`")) }
    }

    fn test(&mut self) -> Result<Expr, Lost> {
        let attribute = self.name("a test begins with an attribute, as in `age >= 65`")?;
        let of = self.selector()?;
        let period = self.period()?;
        let predicate = self.predicate()?;
        Ok(Expr::Test(Test { attribute, of, period, predicate }))
    }

    /// `of valueset(x)`, `of "a"` or `of ("a", "b")`, where it stands.
    fn selector(&mut self) -> Result<Option<Selector>, Lost> {
        if !self.eat_word("of") {
            return Ok(None);
        }
        if self.names_value_set() {
            return self.value_set().map(|name| Some(Selector::ValueSet(name)));
        }
        match self.peek() {
            Some(Token::Open) => self.list().map(|codes| Some(Selector::Codes(codes))),
            Some(Token::Text(_)) => Ok(Some(Selector::Codes(vec![self.operand()?]))),
            _ => {
                let at = self.at();
                Err(self.mistake(at, "`of` is followed by a code in quotes, by a list of them, or by `valueset(id)`"))
            }
        }
    }

    fn names_value_set(&self) -> bool {
        self.is_word("valueset") && self.tokens.get(self.next + 1).is_some_and(|(t, _)| *t == Token::Open)
    }

    /// `in last 12 months`, where it stands.
    fn period(&mut self) -> Result<Option<Duration>, Lost> {
        let follows = matches!(self.tokens.get(self.next + 1), Some((Token::Word(word), _)) if word == "last");
        if !(self.is_word("in") && follows) {
            return Ok(None);
        }
        self.next += 2;
        self.duration().map(Some)
    }

    fn predicate(&mut self) -> Result<Predicate, Lost> {
        if let Some(Token::Sign(sign)) = self.peek() {
            self.next += 1;
            return Ok(Predicate::Compare(*sign, self.operand()?));
        }
        if self.eat_word("within") {
            let last = self.eat_word("last");
            let duration = self.duration()?;
            return Ok(if last { Predicate::WithinLast(duration) } else { Predicate::Within(duration) });
        }
        if self.eat_word("older") {
            let at = self.at();
            if !self.eat_word("than") {
                return Err(self.mistake(at, "write `older than 12 months`"));
            }
            return Ok(Predicate::OlderThan(self.duration()?));
        }
        if self.eat_word("in") {
            return if self.names_value_set() { self.value_set().map(Predicate::InValueSet) } else { self.list().map(Predicate::OneOf) };
        }
        Ok(Predicate::Holds)
    }

    /// `valueset(x)`.
    fn value_set(&mut self) -> Result<Name, Lost> {
        self.next += 2;
        let name = self.name("`valueset(` is followed by the id of a value set, as in `valueset(transport-barrier)`")?;
        if !is_segment_id(&name.text) {
            self.mistake(name.at.0, format!("`{}` is not the id of a value set: lower-case letters, digits and `-`", name.text));
        }
        let at = self.at();
        if self.eat(&Token::Close) { Ok(name) } else { Err(self.mistake(at, "`valueset(` wants one id and a `)`")) }
    }

    fn list(&mut self) -> Result<Vec<Operand>, Lost> {
        let at = self.at();
        if !self.eat(&Token::Open) {
            return Err(self.mistake(
                at,
                "`in` is followed by a list, as in `in (\"a\", \"b\")`, by `valueset(id)`, or by `last` and a length of time",
            ));
        }
        let mut operands = vec![self.operand()?];
        while self.eat(&Token::Comma) {
            operands.push(self.operand()?);
        }
        let at = self.at();
        if self.eat(&Token::Close) { Ok(operands) } else { Err(self.mistake(at, "a list is closed by `)`, its items parted by `,`")) }
    }

    fn operand(&mut self) -> Result<Operand, Lost> {
        let at = self.at();
        let literal = match self.peek() {
            Some(Token::Integer(n)) => Literal::Integer(*n),
            Some(Token::Text(text)) => Literal::Text(text.clone()),
            Some(Token::Time(time)) => Literal::Time(*time),
            Some(Token::Word(word)) => match word.as_str() {
                "true" => Literal::Bool(true),
                "false" => Literal::Bool(false),
                "site.language" => Literal::SiteLanguage,
                "and" | "or" => return Err(self.mistake(at, "a value is missing here")),
                _ => return Err(self.mistake(at, format!("`{word}` is not a value; write texts in quotes: \"{word}\""))),
            },
            _ => {
                return Err(self.mistake(at, "a value is missing here: a number, a \"text\", a date, true, false or site.language"));
            }
        };
        self.next += 1;
        Ok(Operand { literal, at: At(at) })
    }

    fn duration(&mut self) -> Result<Duration, Lost> {
        let at = self.at();
        let (Some(Token::Integer(amount)), Some((Token::Word(word), unit_at))) = (self.peek(), self.tokens.get(self.next + 1)) else {
            return Err(self.mistake(at, "a length of time is missing here, as in 72h, 30d or 12 months"));
        };
        let Some(unit) = Unit::parse(word) else {
            let meant = suggestion(word, ["min", "h", "d", "w", "months", "years"]);
            return Err(self.mistake(*unit_at, format!("`{word}` is not a unit of time: min, h, d, w, months, years{meant}")));
        };
        let Some(duration) = u32::try_from(*amount).ok().and_then(|n| Duration::new(n, unit)) else {
            let longest = Duration::LONGEST_YEARS;
            return Err(self.mistake(at, format!("a length of time is at least 1 and at most {longest} years")));
        };
        self.next += 2;
        Ok(duration)
    }
}

fn only(mut parts: Vec<Expr>, join: fn(Vec<Expr>) -> Expr) -> Expr {
    match (parts.len(), parts.pop()) {
        (1, Some(part)) => part,
        (_, last) => {
            parts.extend(last);
            join(parts)
        }
    }
}
