//! Numbers, instants and moods as people read them, the same on every page.

use chrono::TimeDelta;
use chrono_tz::Tz;
use domain::Timestamp;

/// An instant for people and for programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct When {
    /// As `datetime` wants it.
    pub(super) iso: String,
    /// In the site's zone.
    pub(super) shown: String,
    /// From now.
    pub(super) ago: String,
}

/// How good or bad something is; the style sheet gives it a colour and a mark, the text says it too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mood {
    Good,
    Busy,
    Bad,
    /// Neither.
    Plain,
}

impl Mood {
    pub(super) const fn class(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Busy => "busy",
            Self::Bad => "bad",
            Self::Plain => "none",
        }
    }

    /// The one of that class.
    pub(super) fn parse(class: &str) -> Option<Self> {
        [Self::Good, Self::Busy, Self::Bad, Self::Plain].into_iter().find(|mood| mood.class() == class)
    }
}

pub(super) fn when(t: Timestamp, now: Timestamp, zone: Tz) -> When {
    When { iso: t.to_string(), shown: t.to_utc().with_timezone(&zone).format("%-d %b %Y, %H:%M").to_string(), ago: ago(now.since(t)) }
}

/// How long ago, or in how long.
pub(super) fn ago(span: TimeDelta) -> String {
    match span.num_seconds() {
        0..60 => "just now".to_owned(),
        -59..0 => "in a moment".to_owned(),
        ..0 => format!("in {}", length(-span)),
        _ => format!("{} ago", length(span)),
    }
}

/// A span, in its largest unit.
pub(super) fn length(span: TimeDelta) -> String {
    let of = |n: i64, unit: &str| if n == 1 { format!("1 {unit}") } else { format!("{n} {unit}s") };
    match span.num_seconds() {
        ..60 => of(span.num_seconds(), "second"),
        60..3_600 => of(span.num_minutes(), "minute"),
        3_600..172_800 => of(span.num_hours(), "hour"),
        _ => of(span.num_days(), "day"),
    }
}

/// A number with thin spaces between groups of three, which no language reads as a decimal sign.
pub(super) fn grouped(n: i64) -> String {
    let digits = n.unsigned_abs().to_string();
    let mut text = String::with_capacity(digits.len() * 2);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    if n < 0 { format!("\u{2212}{text}") } else { text }
}

/// A language as people call it, by its tag (BCP 47); a tag that is not among the frequent ones stays as it is.
pub(super) fn language(tag: &str) -> &str {
    const NAMES: [(&str, &str); 30] = [
        ("am", "Amharic"),
        ("ar", "Arabic"),
        ("bn", "Bengali"),
        ("de", "German"),
        ("el", "Greek"),
        ("en", "English"),
        ("es", "Spanish"),
        ("fa", "Persian"),
        ("fr", "French"),
        ("gu", "Gujarati"),
        ("he", "Hebrew"),
        ("hi", "Hindi"),
        ("ht", "Haitian Creole"),
        ("hy", "Armenian"),
        ("it", "Italian"),
        ("ja", "Japanese"),
        ("km", "Khmer"),
        ("ko", "Korean"),
        ("ne", "Nepali"),
        ("pa", "Punjabi"),
        ("pl", "Polish"),
        ("pt", "Portuguese"),
        ("ru", "Russian"),
        ("so", "Somali"),
        ("sw", "Swahili"),
        ("tl", "Tagalog"),
        ("uk", "Ukrainian"),
        ("ur", "Urdu"),
        ("vi", "Vietnamese"),
        ("zh", "Chinese"),
    ];
    let primary = tag.split(['-', '_']).next().unwrap_or(tag);
    NAMES.iter().find(|(code, _)| code.eq_ignore_ascii_case(primary)).map_or(tag, |(_, name)| name)
}

/// `1 alert is`, `2 alerts are`.
pub(super) fn counted(n: i64, one: &str, many: &str) -> String {
    if n == 1 { format!("1 {one}") } else { format!("{} {many}", grouped(n)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_times_are_for_people() {
        let numbers =
            [(0, "0"), (999, "999"), (1_000, "1\u{202f}000"), (1_234_567, "1\u{202f}234\u{202f}567"), (-1_000, "\u{2212}1\u{202f}000")];
        for (n, text) in numbers {
            assert_eq!(grouped(n), text);
        }
        let spans = [
            (-7_200, "in 2 hours"),
            (-1, "in a moment"),
            (0, "just now"),
            (59, "just now"),
            (60, "1 minute ago"),
            (3_599, "59 minutes ago"),
            (3_600, "1 hour ago"),
            (172_800, "2 days ago"),
        ];
        for (seconds, text) in spans {
            assert_eq!(ago(TimeDelta::seconds(seconds)), text);
        }
        for (tag, name) in [("fr", "French"), ("es-MX", "Spanish"), ("ZH_hant", "Chinese"), ("tlh", "tlh"), ("", "")] {
            assert_eq!(language(tag), name);
        }
        let t = Timestamp::parse("2026-11-23T15:05:00Z").unwrap();
        assert_eq!(when(t, t, Tz::America__New_York).shown, "23 Nov 2026, 10:05");
        assert_eq!(
            (counted(1, "alert is", "alerts are"), counted(0, "alert is", "alerts are")),
            ("1 alert is".into(), "0 alerts are".into())
        );
    }
}
