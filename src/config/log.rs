//! Logs.

use super::reader::Section;

/// The form of a log line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// The form.
    pub format: Format,
    /// The least level that is written; absent, `info` for what runs on and `warn` for what ends by itself.
    pub level: Option<tracing::Level>,
}

impl Log {
    pub(super) fn read(s: &mut Section<'_, '_>) -> Self {
        Self {
            format: s
                .parsed("format", "\"text\" or \"json\"", |t| match t {
                    "text" => Some(Format::Text),
                    "json" => Some(Format::Json),
                    _ => None,
                })
                .unwrap_or_default(),
            level: s.parsed("level", "\"error\", \"warn\", \"info\", \"debug\" or \"trace\"", |t| {
                t.chars().all(char::is_alphabetic).then(|| t.parse().ok()).flatten()
            }),
        }
    }
}
