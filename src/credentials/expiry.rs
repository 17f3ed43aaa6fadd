//! What ends by itself and must be renewed by somebody: certificates, secrets, grants; and keys that wait in vain. Pure: whoever calls has
//! looked.

use domain::Timestamp;
use serde::Serialize;

/// A kind of thing that ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// The certificate of the EHR's server.
    ServerCertificate,
    /// The certificate that this gateway shows.
    ClientCertificate,
    /// A certificate authority that is trusted for this EHR.
    Authority,
    /// A client secret or static token.
    Secret,
    /// What a person granted.
    Grant,
    /// A signing key.
    Key,
}

impl What {
    /// Its name in a sentence.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ServerCertificate => "server certificate",
            Self::ClientCertificate => "client certificate",
            Self::Authority => "certificate authority",
            Self::Secret => "secret",
            Self::Grant => "grant",
            Self::Key => "signing key",
        }
    }

    /// So many days before its end somebody should act: certificates and secrets pass through other people's hands.
    const fn notice_days(self) -> i64 {
        match self {
            Self::ServerCertificate => 14,
            Self::ClientCertificate | Self::Authority | Self::Secret => 30,
            Self::Grant => 7,
            Self::Key => 0,
        }
    }

    const fn remedy(self) -> &'static str {
        match self {
            Self::ServerCertificate => "the EHR's operator must renew it; tell them",
            Self::ClientCertificate => "get a new one from whoever issued it, and put it in the same file",
            Self::Authority => "get the new one from the EHR's operator, and put it in the same file",
            Self::Secret => "get a new one from the EHR, put it where the profile points, and set the new day with `fhir-engage ehr add`",
            Self::Grant => "let a person grant it anew: `fhir-engage ehr authorize`",
            Self::Key => "register this gateway's public keys with the EHR (`fhir-engage keys jwks`), then `fhir-engage keys rotate`",
        }
    }
}

/// Something that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watched {
    /// The EHR that it is for; `None` for the installation's own.
    pub ehr: Option<String>,
    /// The kind of thing.
    pub what: What,
    /// Which of them: a subject, a pointer, a credential's name, a key id. Never a secret.
    pub name: String,
    /// When it ends.
    pub ends_at: Option<Timestamp>,
    /// What is wrong with it already, whatever its end.
    pub fault: Option<String>,
}

/// How soon somebody should act.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Urgency {
    /// It has ended, or does not work.
    Over,
    /// Within the notice that its kind asks for.
    Soon,
    /// There is time.
    Later,
}

/// Something that ends, as it stands now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Expiry {
    /// The EHR that it is for; `None` for the installation's own.
    pub ehr: Option<String>,
    /// The kind of thing.
    pub what: What,
    /// Which of them.
    pub name: String,
    /// When it ends.
    pub ends_at: Option<Timestamp>,
    /// Whole days until then; negative once it has ended.
    pub days_left: Option<i64>,
    /// How soon somebody should act.
    pub urgency: Urgency,
    /// One sentence.
    pub says: String,
    /// What to do, where there is something.
    pub remedy: Option<&'static str>,
}

const DAY: i64 = 86_400_000_000;

/// Everything that was looked at, the most urgent first.
#[must_use]
pub fn expiries(watched: impl IntoIterator<Item = Watched>, now: Timestamp) -> Vec<Expiry> {
    let mut all: Vec<Expiry> = watched.into_iter().map(|w| judge(w, now)).collect();
    all.sort_by(|a, b| {
        (a.urgency, a.ends_at.map(Timestamp::micros), &a.ehr, a.what, &a.name).cmp(&(
            b.urgency,
            b.ends_at.map(Timestamp::micros),
            &b.ehr,
            b.what,
            &b.name,
        ))
    });
    all
}

fn judge(watched: Watched, now: Timestamp) -> Expiry {
    let Watched { ehr, what, name, ends_at, fault } = watched;
    let left = ends_at.map(|at| at.micros() - now.micros());
    let days_left = left.map(|micros| micros.div_euclid(DAY));
    let urgency = match left {
        _ if fault.is_some() => Urgency::Over,
        Some(micros) if micros <= 0 => Urgency::Over,
        Some(micros) if micros <= what.notice_days() * DAY => Urgency::Soon,
        _ => Urgency::Later,
    };
    let days = |n: i64| if n == 1 { "1 day".to_owned() } else { format!("{n} days") };
    let says = match (&fault, left, days_left) {
        (Some(fault), ..) => format!("{} {name}: {fault}", what.as_str()),
        (None, Some(micros), _) if micros <= 0 => format!("{} {name} has ended", what.as_str()),
        (None, Some(_), Some(0)) => format!("{} {name} ends within a day", what.as_str()),
        (None, Some(_), Some(n)) => format!("{} {name} ends in {}", what.as_str(), days(n)),
        _ => format!("{} {name}: its end is not known", what.as_str()),
    };
    let remedy = (urgency != Urgency::Later).then(|| what.remedy());
    Expiry { ehr, what, name, ends_at, days_left, urgency, says, remedy }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_urgent_comes_first_and_says_what_to_do() {
        let now = Timestamp::parse("2026-11-25T12:00:00Z").unwrap();
        let watched = |what, name: &str, hours: Option<i64>, fault: Option<&str>| Watched {
            ehr: Some("main".to_owned()),
            what,
            name: name.to_owned(),
            ends_at: hours.map(|h| now.plus(chrono::TimeDelta::hours(h))),
            fault: fault.map(str::to_owned),
        };
        let told = expiries(
            [
                watched(What::ServerCertificate, "a", Some(24 * 15), None),
                watched(What::Secret, "b", Some(24 * 30), None),
                watched(What::Secret, "c", Some(24 * 31), None),
                watched(What::ClientCertificate, "d", Some(-1), None),
                watched(What::Grant, "e", Some(5), None),
                watched(What::Key, "f", None, Some("refused 5 times (invalid_client)")),
                watched(What::Grant, "g", None, None),
                watched(What::Authority, "h", Some(0), None),
            ],
            now,
        );
        let lines: Vec<String> = told.iter().map(|e| format!("{:?} {:?} {}", e.urgency, e.days_left, e.says)).collect();
        assert_eq!(
            lines,
            [
                "Over None signing key f: refused 5 times (invalid_client)",
                "Over Some(-1) client certificate d has ended",
                "Over Some(0) certificate authority h has ended",
                "Soon Some(0) grant e ends within a day",
                "Soon Some(30) secret b ends in 30 days",
                "Later None grant g: its end is not known",
                "Later Some(15) server certificate a ends in 15 days",
                "Later Some(31) secret c ends in 31 days",
            ]
        );
        assert!(told.iter().all(|e| e.remedy.is_some() == (e.urgency != Urgency::Later)));
    }
}
