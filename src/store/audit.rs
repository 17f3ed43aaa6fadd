//! Who saw or did what of which patient, when and why: one row each, in a chain. A row's hash is of its fields and of the hash before it, so
//! a row that is changed, taken out or put in later breaks every hash behind it ([`verify`]). That the end was not cut off tells the head,
//! and, where somebody could change that as well, a point of the chain that was noted elsewhere.
//!
//! An act appends in its own transaction ([`append`]), as the last thing in it: whoever appends holds the head until the commit. Views come by
//! the hundred a second, and each must be durable before the page is sent: those that wait at the same moment are committed together
//! ([`Store::audited`]), so that they share one fsync and hold the head once.

use std::collections::VecDeque;
use std::sync::Mutex;

use diesel::prelude::*;
use domain::Timestamp;
use domain::model::Phi;
use tokio::sync::oneshot;

use super::connection::{Conn, on_backend};
use super::error::StoreError;
use super::lanes::{Lane, lock};
use super::preferences::hex;
use super::schema::{audit, audit_head};
use super::text::storable;
use super::{Store, blocking};

/// Something that somebody saw or did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// When.
    pub at: Timestamp,
    /// Who: the user as the EHR or the site's sign-in names them, or the command line's.
    pub who: String,
    /// As what, the roles joined by a comma.
    pub roles: String,
    /// What: a code such as `view` or `send`.
    pub what: &'static str,
    /// Of which patient, where it was of one: the EHR and the logical id there.
    pub patient: Option<(String, Phi<String>)>,
    /// Under which opening of the patient's page.
    pub opening: Option<String>,
    /// About what of the patient: an attempt, a program. Holds no patient data.
    pub about: Option<String>,
    /// Why, a code or words without patient data.
    pub why: Option<String>,
}

/// A row of the chain.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = audit)]
pub struct Row {
    /// Its place, from 1.
    pub number: i64,
    /// When, microseconds.
    pub at: i64,
    /// Who.
    pub who: String,
    /// As what.
    pub roles: String,
    /// What.
    pub what: String,
    /// At which EHR.
    pub ehr: Option<String>,
    /// Of which patient: the logical id there.
    #[diesel(deserialize_as = Option<String>)]
    pub patient: Hidden,
    /// Under which opening.
    pub opening: Option<String>,
    /// About what.
    pub about: Option<String>,
    /// Why.
    pub why: Option<String>,
    /// The hash of all that and of the hash before it.
    pub hash: Vec<u8>,
}

/// A patient's logical id, where there is one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hidden(pub Option<Phi<String>>);

impl From<Option<String>> for Hidden {
    fn from(id: Option<String>) -> Self {
        Self(id.map(Phi::new))
    }
}

impl Row {
    /// The hash, for people and files.
    #[must_use]
    pub fn hash_text(&self) -> String {
        hex(&self.hash)
    }
}

/// What stands before the first row.
const BEGINNING: [u8; 32] = [0; 32];

/// BLAKE3 over the hash before and the fields of a row: numbers as eight bytes, a text as 1, its length and itself, one that is absent as 0.
/// So no two rows read alike.
fn chained(before: &[u8], (number, at): (i64, i64), texts: [Option<&str>; 8]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"fhir-engage audit 1\n").update(before).update(&number.to_le_bytes()).update(&at.to_le_bytes());
    for text in texts {
        match text {
            Some(text) => hasher.update(&[1]).update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes()),
            None => hasher.update(&[0]),
        };
    }
    *hasher.finalize().as_bytes()
}

fn hash_of(row: &Row, before: &[u8]) -> [u8; 32] {
    let texts = [
        Some(row.who.as_str()),
        Some(&row.roles),
        Some(&row.what),
        row.ehr.as_deref(),
        row.patient.0.as_ref().map(|id| id.expose().as_str()),
        row.opening.as_deref(),
        row.about.as_deref(),
        row.why.as_deref(),
    ];
    chained(before, (row.number, row.at), texts)
}

/// Appends a row; returns its place. To be the last thing in its transaction: from here on whoever else appends waits for the commit.
///
/// # Errors
/// The engine's refusal, or the head of the chain is not there.
pub fn append(conn: &mut Conn, entry: &Entry) -> Result<i64, StoreError> {
    append_all(conn, std::slice::from_ref(entry))
}

fn append_all(conn: &mut Conn, entries: &[Entry]) -> Result<i64, StoreError> {
    let head = audit_head::table.find(HEAD).select((audit_head::number, audit_head::hash));
    let head: Option<(i64, Vec<u8>)> = match conn {
        Conn::Sqlite(c) => head.first(c).optional()?,
        // Of two nodes that append at once the later one reads what the earlier one wrote.
        #[cfg(feature = "postgres")]
        Conn::Postgres(c) => head.for_update().first(c).optional()?,
    };
    let (mut number, mut hash) = head.ok_or(StoreError::Damaged("the head of the audit chain is not there"))?;
    for entry in entries {
        number += 1;
        let text = |text: &Option<String>| text.as_deref().map(|t| storable(t).into_owned());
        let mut row = Row {
            number,
            at: entry.at.micros(),
            who: storable(&entry.who).into_owned(),
            roles: entry.roles.clone(),
            what: entry.what.to_owned(),
            ehr: entry.patient.as_ref().map(|(ehr, _)| ehr.clone()),
            patient: entry.patient.as_ref().map(|(_, id)| storable(id.expose()).into_owned()).into(),
            opening: text(&entry.opening),
            about: text(&entry.about),
            why: text(&entry.why),
            hash: Vec::new(),
        };
        row.hash = hash_of(&row, &hash).to_vec();
        hash.clone_from(&row.hash);
        let values = (
            (audit::number.eq(row.number), audit::at.eq(row.at), audit::who.eq(row.who), audit::roles.eq(row.roles)),
            (audit::what.eq(row.what), audit::ehr.eq(row.ehr), audit::patient.eq(row.patient.0.map(Phi::into_inner))),
            (audit::opening.eq(row.opening), audit::about.eq(row.about), audit::why.eq(row.why), audit::hash.eq(row.hash)),
        );
        on_backend!(conn, c => diesel::insert_into(audit::table).values(values).execute(c))?;
    }
    let moved = (audit_head::number.eq(number), audit_head::hash.eq(hash));
    on_backend!(conn, c => diesel::update(audit_head::table.find(HEAD)).set(moved).execute(c))?;
    Ok(number)
}

/// The one row of the head.
const HEAD: i64 = 1;

/// What waits to be appended by this process.
#[derive(Default)]
pub(super) struct Waiting(Mutex<Line>);

#[derive(Default)]
struct Line {
    entries: VecDeque<(Entry, oneshot::Sender<bool>)>,
    /// Somebody is at it, and takes what comes meanwhile.
    is_attended: bool,
}

/// Rows of one commit.
const TOGETHER: usize = 256;

impl Store {
    /// Appends a row and returns once it is durable. Those that wait at the same moment are committed together.
    ///
    /// # Errors
    /// Where it was not written: then what it is about must not be shown or done.
    pub async fn audited(&self, entry: Entry) -> Result<(), StoreError> {
        let (told, written) = oneshot::channel();
        let attends = {
            let mut line = lock(&self.0.audits.0);
            line.entries.push_back((entry, told));
            !std::mem::replace(&mut line.is_attended, true)
        };
        if attends {
            let store = self.clone();
            // Not awaited: whoever asked first may go away, and the others wait for the same commit.
            drop(tokio::spawn(blocking(move || {
                attend(&store);
                Ok(())
            })));
        }
        match written.await {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => Err(StoreError::Unusable("a row of the audit chain could not be written".to_owned())),
        }
    }
}

/// Writes what waits until nothing does.
fn attend(store: &Store) {
    /// Also where a panic ends it: those that wait are told, and the next one begins anew.
    struct Leave<'a>(&'a Store);
    impl Drop for Leave<'_> {
        fn drop(&mut self) {
            if std::thread::panicking() {
                let mut line = lock(&self.0.0.audits.0);
                line.is_attended = false;
                line.entries.clear();
            }
        }
    }
    let _leave = Leave(store);
    loop {
        let taken: Vec<_> = {
            let mut line = lock(&store.0.audits.0);
            if line.entries.is_empty() {
                line.is_attended = false;
                return;
            }
            let many = line.entries.len().min(TOGETHER);
            line.entries.drain(..many).collect()
        };
        let (entries, told): (Vec<Entry>, Vec<_>) = taken.into_iter().unzip();
        let written = store.write_blocking(Lane::Interactive, "append to the audit chain", |conn| append_all(conn, &entries));
        for waits in told {
            // Who does not wait any more needs no word.
            let _ = waits.send(written.is_ok());
        }
    }
}

/// Which rows a list is about.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Of one patient: the EHR and the logical id there.
    pub patient: Option<(String, String)>,
    /// Of one user.
    pub who: Option<String>,
    /// Of one kind.
    pub what: Option<String>,
    /// Since an instant.
    pub since: Option<Timestamp>,
    /// Before this place, for the next part of a long list.
    pub before: Option<i64>,
}

/// Rows for a list, the latest first.
///
/// # Errors
/// The engine's refusal.
pub fn list(conn: &mut Conn, wanted: &Wanted, limit: i64) -> Result<Vec<Row>, StoreError> {
    on_backend!(conn, c => {
        let mut q = audit::table.select(Row::as_select()).into_boxed();
        if let Some((ehr, id)) = &wanted.patient {
            q = q.filter(audit::ehr.eq(ehr)).filter(audit::patient.eq(id));
        }
        if let Some(who) = &wanted.who {
            q = q.filter(audit::who.eq(who));
        }
        if let Some(what) = &wanted.what {
            q = q.filter(audit::what.eq(what));
        }
        if let Some(since) = wanted.since {
            q = q.filter(audit::at.ge(since.micros()));
        }
        if let Some(before) = wanted.before {
            q = q.filter(audit::number.lt(before));
        }
        Ok(q.order(audit::number.desc()).limit(limit).load(c)?)
    })
}

/// What was ever seen or done, by code.
///
/// # Errors
/// The engine's refusal.
pub fn kinds(conn: &mut Conn) -> Result<Vec<String>, StoreError> {
    use diesel::dsl::min;
    // From one to the next along the index: there are few kinds and many rows.
    let (mut all, mut last): (Vec<String>, String) = (Vec::new(), String::new());
    loop {
        let next: Option<String> = on_backend!(conn, c => audit::table.filter(audit::what.gt(&last)).select(min(audit::what)).first(c))?;
        let Some(next) = next else { return Ok(all) };
        last.clone_from(&next);
        all.push(next);
    }
}

/// How many rows the chain has, by its head.
///
/// # Errors
/// The engine's refusal.
pub fn rows(conn: &mut Conn) -> Result<i64, StoreError> {
    let head: Option<i64> = on_backend!(conn, c => audit_head::table.find(HEAD).select(audit_head::number).first(c).optional())?;
    Ok(head.unwrap_or(0))
}

/// What is wrong with a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Broken {
    /// A row is missing, or stands in another's place.
    Missing(i64),
    /// A row, or one before it, is not what was written.
    Changed(i64),
    /// The rows end before the head says that they do, or behind it.
    End {
        /// Where the rows end.
        rows: i64,
        /// Where the head says.
        head: i64,
    },
    /// A point that was noted elsewhere is not in the chain.
    NotThere(i64),
}

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Missing(number) => write!(f, "row {number} is missing, or another stands in its place"),
            Self::Changed(number) => write!(f, "row {number} is not what was written, or the one before it is not"),
            Self::End { rows, head } => write!(f, "the rows end at {rows} and the chain at {head}: rows were cut off or put in"),
            Self::NotThere(number) => write!(f, "row {number} is not the one that was noted: the chain was written anew, or cut off"),
        }
    }
}

/// A chain that was walked along.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// How many rows it has.
    pub rows: i64,
    /// The hash of the last one.
    pub last: String,
    /// What is wrong, where anything is.
    pub broken: Option<Broken>,
}

/// Rows of one read.
const CHUNK: i64 = 5_000;

/// A walk along the chain, step by step: between two steps others may append.
#[derive(Clone, Debug)]
pub struct Walk {
    number: i64,
    hash: Vec<u8>,
    /// A place with the beginning of its hash that must be on the way, and whether it was.
    noted: Option<(i64, String)>,
    seen: bool,
}

impl Walk {
    /// From the first row.
    #[must_use]
    pub fn begin(noted: Option<(i64, &str)>) -> Self {
        let seen = noted.is_none_or(|(at, noted)| at == 0 && hex(&BEGINNING).starts_with(noted));
        Self { number: 0, hash: BEGINNING.to_vec(), noted: noted.map(|(at, hash)| (at, hash.to_owned())), seen }
    }

    /// Behind a row that was walked to before, with the hash that it had.
    #[must_use]
    pub const fn from(number: i64, hash: Vec<u8>) -> Self {
        Self { number, hash, noted: None, seen: true }
    }

    /// The row that it came to, and its hash.
    #[must_use]
    pub fn place(&self) -> (i64, &[u8]) {
        (self.number, &self.hash)
    }

    fn ended(&self, broken: Option<Broken>) -> Verified {
        Verified { rows: self.number, last: hex(&self.hash), broken }
    }

    /// Goes on along at most so many rows; what was found, once it is at the end or something is wrong. To be called in a snapshot.
    ///
    /// # Errors
    /// The engine's refusal.
    pub fn step(&mut self, conn: &mut Conn, most: i64) -> Result<Option<Verified>, StoreError> {
        let rows = audit::table.filter(audit::number.gt(self.number)).order(audit::number).limit(most);
        let rows: Vec<Row> = on_backend!(conn, c => rows.select(Row::as_select()).load(c))?;
        let is_full = i64::try_from(rows.len()).is_ok_and(|n| n >= most);
        for row in rows {
            let expected = hash_of(&row, &self.hash);
            let broken = match () {
                () if row.number != self.number + 1 => Some(Broken::Missing(self.number + 1)),
                () if row.hash != expected => Some(Broken::Changed(row.number)),
                () => None,
            };
            if broken.is_some() {
                return Ok(Some(self.ended(broken)));
            }
            (self.number, self.hash) = (row.number, row.hash);
            self.seen |= self.noted.as_ref().is_some_and(|(at, noted)| *at == self.number && hex(&self.hash).starts_with(noted.as_str()));
        }
        if is_full {
            return Ok(None);
        }
        let head: Option<(i64, Vec<u8>)> =
            on_backend!(conn, c => audit_head::table.find(HEAD).select((audit_head::number, audit_head::hash)).first(c).optional())?;
        let head = head.unwrap_or_default();
        let broken = match &self.noted {
            _ if (head.0, &head.1) != (self.number, &self.hash) => Some(Broken::End { rows: self.number, head: head.0 }),
            Some((at, _)) if !self.seen => Some(Broken::NotThere(*at)),
            _ => None,
        };
        Ok(Some(self.ended(broken)))
    }
}

/// Walks along the whole chain. `noted` is a place with the beginning of its hash, as an earlier walk told it. To be called in a snapshot;
/// [`super::chain`] walks without one.
///
/// # Errors
/// The engine's refusal.
pub fn verify(conn: &mut Conn, noted: Option<(i64, &str)>) -> Result<Verified, StoreError> {
    let mut walk = Walk::begin(noted);
    loop {
        if let Some(found) = walk.step(conn, CHUNK)? {
            return Ok(found);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_moves_from_one_field_to_the_next_is_another_row() {
        let of = |texts| chained(&BEGINNING, (1, 1), texts);
        let one = of([Some("a"), Some("b"), None, None, None, None, None, None]);
        let others = [
            of([Some("ab"), Some(""), None, None, None, None, None, None]),
            of([Some("a"), None, Some("b"), None, None, None, None, None]),
            of([Some("a"), Some("b"), Some(""), None, None, None, None, None]),
            chained(&[1; 32], (1, 1), [Some("a"), Some("b"), None, None, None, None, None, None]),
            chained(&BEGINNING, (2, 1), [Some("a"), Some("b"), None, None, None, None, None, None]),
        ];
        assert!(others.iter().all(|other| *other != one));
    }
}
