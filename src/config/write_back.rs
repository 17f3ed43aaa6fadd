//! Writing to EHRs.

use chrono::TimeDelta;

use super::reader::Section;

/// Writing to EHRs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriteBack {
    /// How long after an unclear outcome the EHR is asked: longer than it may still be working on the request. Absent: as the vendor's preset
    /// says.
    pub settle_delay: Option<TimeDelta>,
    /// How long one request may take.
    pub http_timeout: TimeDelta,
}

impl WriteBack {
    pub(super) fn read(s: &mut Section<'_, '_>) -> Self {
        Self {
            settle_delay: s.span("settle_delay", TimeDelta::zero(), TimeDelta::days(1)),
            http_timeout: s.span("http_timeout", TimeDelta::seconds(1), TimeDelta::minutes(10)).unwrap_or(TimeDelta::seconds(30)),
        }
    }
}
