//! Faults planted by name. Owns which fault meets which request and how often; `fhir` and `exchange` do what the fault says.
//! A fault that is left over at the end of a test shows that the test did not test what it says, so leftovers can be listed.

use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

/// In which way what a code brings is odd; some are wrong, and some only rare.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Odd {
    /// There is no id_token.
    NoIdToken,
    /// The id_token is signed with RS256, as most are.
    Rs256,
    /// It is signed with ES256.
    Es256,
    /// Its header names no key.
    NoKid,
    /// It is not signed (`none`).
    Unsigned,
    /// It is signed with HS256 and what everybody knows.
    SharedSecret,
    /// It is signed with a key that is not published.
    OtherKey,
    /// Another issuer.
    OtherIssuer,
    /// For another client.
    OtherAudience,
    /// `aud` is a list.
    AudienceList,
    /// Another `nonce`.
    OtherNonce,
    /// It expired an hour ago.
    Expired,
    /// It was issued an hour from now.
    NotYet,
    /// Its times have fractions.
    FractionalTimes,
    /// No `fhirUser`.
    NoFhirUser,
    /// The user is a patient.
    PatientUser,
    /// The user is of another server.
    ForeignUser,
    /// The token answer names no patient, whatever was granted.
    NoPatient,
    /// The granted scopes hold no reading of patients.
    NoReading,
    /// The granted scopes are written in the other dialect.
    OtherDialect,
    /// The token answer tells no scopes.
    NoScope,
}

/// What goes wrong.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "fault")]
pub enum FaultKind {
    /// 429 as text/plain on any request, that for a token included, with this `Retry-After` as it stands (seconds, a date, or nonsense), or
    /// without one.
    TooManyRequests {
        /// The header's value.
        #[serde(default)]
        retry_after: Option<String>,
    },
    /// This status with an OperationOutcome of code `transient`, on any FHIR request. Nothing was done.
    ServerError {
        /// 500, 502, 503 or 504.
        status: u16,
    },
    /// The token ends between two pages: 401 on a page after the first, and every token given out is void.
    TokenExpiredMidSearch,
    /// The token endpoint refuses: with this RFC 6749 error, or without one as text/plain.
    TokenRefused {
        /// 400, 401 or 500.
        status: u16,
        /// `invalid_client`, `invalid_grant`, ...
        #[serde(default)]
        error: Option<String>,
    },
    /// The person says no to an authorization request.
    AccessDenied,
    /// What a code brings is odd in one way.
    OddGrant {
        /// In which.
        how: Odd,
    },
    /// The answer is held back so long, then given.
    PageTimeout {
        /// Milliseconds.
        millis: u64,
    },
    /// `link[next]` points to this origin.
    NextLinkOnOtherHost {
        /// For example `http://127.0.0.1:9`.
        origin: String,
    },
    /// `link[next]` leads back to the page it is on.
    RepeatedNextLink,
    /// A page begins with the last entry of the page before.
    DuplicateAcrossPages,
    /// A search is answered by a replica that is so far behind: what changed since then is not shown.
    LaggingReplica {
        /// Milliseconds.
        millis: u64,
    },
    /// A searchset holds an OperationOutcome entry with this severity.
    OutcomeInBundle {
        /// `information`, `warning` or `error`.
        severity: String,
    },
    /// A search forgets its filters and answers everything with 200.
    IgnoresFilter {
        /// True: `link[self]` pretends that the filters were applied.
        echo: bool,
    },
    /// A create is done, and the connection closed without an answer.
    CreateAppliedAnswerLost,
    /// The connection is closed without an answer, and the create was not done.
    CreateLost,
    /// A create is done, and the answer is 500.
    Create500Applied,
    /// The answer to a create is 500, and it was not done.
    Create500NotApplied,
    /// The answer to a create is 409, and it was not done.
    CreateConflict409,
    /// The answer to a create or update is 412, and it was not done.
    PreconditionFailed412,
    /// A create is answered 201 without a body, whatever `Prefer` says.
    CreateEmptyBody,
    /// `Location` of a create names this origin.
    LocationOtherHost {
        /// For example `http://ehr.internal`.
        origin: String,
    },
    /// A create forgets `If-None-Exist`.
    ConditionalIgnored,
    /// `If-None-Exist` is no lock: it is judged by what was there so long before, by the sandbox's clock. So two creates at one instant are
    /// both done, and one that comes later finds what is there.
    ConditionalRace {
        /// Milliseconds.
        millis: u64,
    },
    /// The connection is closed without an answer at once, and the create done only when the sandbox's clock has moved on by so much:
    /// before the first request or look from inside at or after that instant. Its rules and its condition are judged then. A stop forgets
    /// it.
    AppliedLate {
        /// Milliseconds.
        millis: u64,
    },
    /// What a create or update sends is kept without this element.
    DropsElement {
        /// A top-level element, for example `identifier`.
        name: String,
    },
    /// 422 on a create or update with an element that the flavour would drop without a word.
    RefusesUnsupported,
    /// 400 on a search that gives neither this parameter nor `_id`.
    RequiresParameter {
        /// For example `-email-status`.
        name: String,
    },
    /// The token ends just before a create, update, patch or delete: 401, nothing is done, and every token given out is void.
    TokenExpiredAtCreate,
    /// A connection is closed as soon as it is there, before anything is read from it. The client is connected, and then sees an end or a
    /// reset without a byte of answer, as with [`Self::CreateLost`]; it cannot see that nothing was read. (A port that nobody listens on is
    /// the only thing that refuses so that the client knows.) It strikes connections and not requests: plant it without method and path,
    /// and mind that a client with an open connection makes no new one. The request log shows nothing.
    ClosedAtAccept,
    /// The answer breaks off: status, headers and half of the body, then the connection is reset. What was asked is done. Strikes answers
    /// with a body.
    ResetMidBody,
    /// This status on a read or search that names this patient, with a code of the vendor's beside the OperationOutcome's own where one is
    /// given: a sealed record (403, `4130`), or one that the server cannot give.
    OfPatient {
        /// The patient's id.
        patient: String,
        /// 403, 404, 500, 503, ...
        status: u16,
        /// `issue.details.coding.code`.
        #[serde(default)]
        code: Option<String>,
    },
    /// 403 on every interaction with the type.
    RefuseType,
    /// 200 with an HTML page.
    NotJson,
    /// 200 with a body of so many bytes, never ending in a value.
    HugeBody {
        /// Length of the body.
        bytes: u64,
    },
    /// `_lastUpdated` is neither advertised nor understood.
    NoLastUpdated,
    /// A subscription that is asked for stays `requested`. Faults of what is sent strike the method `NOTIFY` on `/fhir/TYPE`, or on
    /// `/fhir/Subscription` where no resource is meant.
    NeverHandshakes,
    /// An event is not sent.
    EventLost,
    /// An event is sent twice.
    EventDoubled,
    /// An event is sent after the one that follows it.
    EventsOutOfOrder,
    /// An event is sent when that is asked for from inside.
    EventLate,
    /// Before an event another one is sent that nobody signed.
    EventForged,
    /// The numbers of events begin anew, and earlier ones are forgotten.
    EventNumbersRestart,
    /// An event is not sent, and the subscription is in error.
    SubscriptionErrs,
    /// A sign of life is not given.
    HeartbeatLost,
    /// A read is answered 410.
    Gone,
    /// The kick-off of an export is answered with this status.
    ExportRefused {
        /// 403, 404, 501, ...
        status: u16,
    },
    /// An export is accepted, and its status answered with this status of HTTP.
    ExportRefusedAtStatus {
        /// 403, ...
        status: u16,
    },
    /// An export is not ready yet, with this `Retry-After` as it stands.
    ExportWaits {
        /// The header's value.
        #[serde(default)]
        retry_after: Option<String>,
    },
    /// The server has lost an export when its status is asked for.
    ExportForgotten {
        /// 404 or 410.
        status: u16,
    },
    /// The addresses of an export's files have ended; the manifest tells fresh ones.
    ExportFileGone {
        /// 403, 404 or 410.
        status: u16,
    },
    /// The manifest's counts are missing, or off by so many.
    ExportCounts {
        /// What is added to each.
        #[serde(default)]
        by: Option<i64>,
    },
    /// The files want no token: their addresses are signed, and a token beside the signature is refused.
    ExportOpenFiles {
        /// Where they are, where that is another origin, such as `http://localhost:8090`.
        #[serde(default)]
        origin: Option<String>,
    },
    /// A file is answered with 307 to a signed address at this origin.
    ExportRedirects {
        /// For example `http://localhost:8090`.
        origin: String,
    },
    /// A file is gzip, and no header says so.
    ExportPacked,
    /// An export has an error file, with an OperationOutcome of this severity.
    ExportErrors {
        /// `error`, `warning` or `information`.
        severity: String,
    },
    /// `transactionTime` is this, or missing.
    ExportTime {
        /// Its value.
        #[serde(default)]
        value: Option<String>,
    },
    /// The manifest is that of this version of Bulk Data Access: 1 to 4.
    ExportVersion {
        /// The version.
        version: u8,
    },
    /// The manifest comes in pages of one file each.
    ExportPages,
    /// A file's second line breaks off.
    ExportBadLine,
    /// An export is empty where one was made before, unless `Cache-Control: no-cache` asks for a new one.
    ExportEmptyAgain,
    /// 429 at kick-off while another export is there.
    ExportOneAtATime,
    /// 413 at kick-off where more than one type is asked for.
    ExportTooLarge,
    /// 400 at kick-off where this type is among those asked for.
    ExportWithout {
        /// The type.
        resource_type: String,
    },
    /// 400 at kick-off where several types are not written so.
    ExportLists {
        /// True: joined by commas. False: repeated.
        comma: bool,
    },
    /// 405 at a kick-off by GET.
    ExportPostOnly,
    /// A delete of an export is answered in plain text.
    ExportDeleteText,
    /// A delete of an export is answered with this status, and not done.
    ExportDeleteRefused {
        /// 404, 405, 500, ...
        status: u16,
    },
    /// The token ends before a file: 401, and every token given out is void.
    ExportTokenEnds,
    /// `_since` is forgotten.
    ExportIgnoresSince,
    /// The status of an export is to be asked for at this origin.
    ExportStatusElsewhere {
        /// For example `http://127.0.0.1:9`.
        origin: String,
    },
    /// The server's clock is so far off: in `Date`, in `meta.lastUpdated` of what is written, and in the checks of the token endpoint.
    ClockSkew {
        /// Seconds; negative is slow.
        seconds: i64,
    },
}

/// A fault with where and how often it strikes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fault {
    /// What goes wrong.
    #[serde(flatten)]
    pub kind: FaultKind,
    /// Only requests of this method; empty: any.
    #[serde(default)]
    pub method: String,
    /// Only paths that begin so, for example `/fhir/Patient`; empty: any.
    #[serde(default)]
    pub path: String,
    /// How many matching requests pass unharmed first.
    #[serde(default)]
    pub skip: u32,
    /// How many requests it strikes.
    #[serde(default = "once")]
    pub times: u32,
}

fn once() -> u32 {
    1
}

impl Fault {
    /// A fault that strikes the first request it fits, once.
    pub fn new(kind: FaultKind) -> Self {
        Self { kind, method: String::new(), path: String::new(), skip: 0, times: 1 }
    }

    /// Only requests of this method whose path begins so.
    #[must_use]
    pub fn on(mut self, method: &str, path: &str) -> Self {
        (self.method, self.path) = (method.to_owned(), path.to_owned());
        self
    }

    /// Strikes so often; `u32::MAX` is for ever.
    #[must_use]
    pub fn times(mut self, times: u32) -> Self {
        self.times = times;
        self
    }

    /// Lets so many matching requests pass first.
    #[must_use]
    pub fn after(mut self, skip: u32) -> Self {
        self.skip = skip;
        self
    }
}

struct Planted {
    fault: Fault,
    struck: u32,
}

/// The planted faults.
#[derive(Default)]
pub(crate) struct Faults {
    planted: Mutex<Vec<Planted>>,
}

impl Faults {
    fn lock(&self) -> MutexGuard<'_, Vec<Planted>> {
        self.planted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn plant(&self, fault: Fault) {
        self.lock().push(Planted { fault, struck: 0 });
    }

    pub(crate) fn clear(&self) {
        self.lock().clear();
    }

    /// What was not used up; a fault for ever counts as used when it struck once.
    pub(crate) fn unused(&self) -> Vec<Fault> {
        let left = |planted: &Planted| planted.fault.times > 0 && (planted.fault.times < u32::MAX || planted.struck == 0);
        self.lock().iter().filter(|planted| left(planted)).map(|planted| planted.fault.clone()).collect()
    }

    /// The first planted fault that fits the request and is one of those wanted at this point; it is counted down.
    pub(crate) fn take(&self, method: &str, path: &str, wanted: impl Fn(&FaultKind) -> bool) -> Option<FaultKind> {
        let mut planted = self.lock();
        for Planted { fault, struck } in planted.iter_mut() {
            let fits = (fault.method.is_empty() || fault.method == method) && path.starts_with(&fault.path);
            if fault.times == 0 || !fits || !wanted(&fault.kind) {
                continue;
            }
            if fault.skip > 0 {
                fault.skip -= 1;
                continue;
            }
            if fault.times < u32::MAX {
                fault.times -= 1;
            }
            *struck = struck.saturating_add(1);
            return Some(fault.kind.clone());
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_strikes_what_it_fits_and_as_often_as_it_says() {
        let faults = Faults::default();
        faults.plant(Fault::new(FaultKind::Gone).on("GET", "/fhir/Patient").after(1).times(2));
        let strike = |method, path| faults.take(method, path, |kind| *kind == FaultKind::Gone).is_some();
        assert!(!strike("POST", "/fhir/Patient/1") && !strike("GET", "/fhir/CarePlan/1"));
        assert_eq!([(); 4].map(|()| strike("GET", "/fhir/Patient/1")), [false, true, true, false]);
        assert_eq!(faults.unused(), []);
    }

    #[test]
    fn what_is_left_over_is_listed() {
        let faults = Faults::default();
        let standing = Fault::new(FaultKind::NoLastUpdated).times(u32::MAX);
        faults.plant(standing.clone());
        faults.plant(Fault::new(FaultKind::NotJson));
        assert_eq!(faults.unused(), [standing, Fault::new(FaultKind::NotJson)]);
        assert_eq!(faults.take("GET", "/", |kind| *kind == FaultKind::NoLastUpdated), Some(FaultKind::NoLastUpdated));
        assert_eq!(faults.unused(), [Fault::new(FaultKind::NotJson)]);
        faults.clear();
        assert_eq!(faults.unused(), []);
    }

    #[test]
    fn the_json_form_is_flat() {
        let fault: Fault = serde_json::from_str(r#"{"fault":"ClockSkew","seconds":-600,"path":"/auth"}"#).unwrap();
        assert_eq!(fault, Fault::new(FaultKind::ClockSkew { seconds: -600 }).on("", "/auth"));
        let fault: Fault = serde_json::from_str(r#"{"fault":"CreateLost","times":3}"#).unwrap();
        assert_eq!(fault, Fault::new(FaultKind::CreateLost).times(3));
    }
}
