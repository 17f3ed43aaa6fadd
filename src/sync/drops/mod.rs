//! Drop folders: files that a hospital puts down for what no API gives (standards.md E.1), CSV by a declared mapping or NDJSON.
//!
//! A file is taken only when it is complete, in the declared order, and never twice: its content is remembered by hash. Its rows walk the
//! same path as an import's lines, and all of them are accounted for. What is known of the file is committed before it is moved, so a crash
//! repeats without doubling. A full file is a complete answer: what it no longer shows is missing ([`settle`]).

mod csv;
mod declare;
mod elements;
mod expected;
mod folder;
mod rows;
mod settle;
mod table;
#[cfg(test)]
mod tests;
mod trial;

use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use domain::model::EhrId;
use domain::{Clock, Timestamp};

use super::import::{self, ImportError, Input, Progress, Report, Shown};
use super::lease::{self, Holder};
use crate::ehr::Profile;
use crate::store::drops::{self, Account, DropFile, DropStatus, Found};
use crate::store::leases::{self, Fence};
use crate::store::{Lane, Store, StoreError};
use folder::{Entry, Seen};
use settle::LeftOut;

pub use declare::{Content, Drop, Mistakes};
pub(in crate::sync) use rows::Rows;
pub use table::{Flaw, Table};
pub use trial::{Trial, Tried, try_out};

/// What of a type may disappear at once, in percent, where the operator does not say.
const VANISH_LIMIT_PERCENT: u8 = 20;

/// What a look into an EHR's folders works with.
#[derive(Clone, Copy)]
pub struct Task<'a> {
    /// The store.
    pub store: &'a Store,
    /// Our clock; files' times are compared with it.
    pub clock: &'a dyn Clock,
    /// Who takes the leases.
    pub holder: Holder<'a>,
    /// The EHR.
    pub ehr: &'a EhrId,
    /// Ends the work between two batches of rows.
    pub stop: &'a AtomicBool,
    /// Is told how far a file is.
    pub progress: &'a (dyn Fn(Progress) + Sync),
    /// Whether the operator has said that what disappeared may be gone, however much it is.
    pub accept_vanished: bool,
}

/// Why the folders of an EHR could not be looked into.
#[derive(Debug, thiserror::Error)]
pub enum DropError {
    /// A declaration in the profile.
    #[error("a drop folder of `{0}` is not declared as it must be: {1}; register it again with `fhir-engage ehr add {0} ... --drop FILE`")]
    Declaration(EhrId, Mistakes),
    /// Another process is at it.
    #[error("the drop folders of `{0}` are being looked into by another process; it goes on there")]
    Held(EhrId),
    /// The store cannot go on. What was committed stays.
    #[error("the look into the drop folders stopped; what was stored stays, and the next one goes on from there")]
    Store(#[from] StoreError),
}

/// What became of one folder.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct DropReport {
    /// The drop's name.
    pub drop: String,
    /// Files that were taken, failed, or turned out to be repeated.
    pub files: Vec<FileReport>,
    /// Files that are not complete, or come after one that is not, with why.
    pub waiting: Vec<(String, String)>,
    /// The instant by which a file was expected that has not come.
    pub late_since: Option<Timestamp>,
    /// Why the folder cannot be read, or files in it cannot be moved.
    pub problem: Option<String>,
}

/// What became of one file.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct FileReport {
    /// Its number, as in `sync drops show`.
    pub number: i64,
    /// Its name.
    pub file: String,
    /// `done`, `failed`, `held`, `repeated`.
    pub state: &'static str,
    /// Rows read: the sum of the next five.
    pub lines: i64,
    /// New or changed.
    pub stored: i64,
    /// As already stored.
    pub unchanged: i64,
    /// Followed by another row of the same id.
    pub superseded: i64,
    /// Of types that are not taken.
    pub ignored: i64,
    /// Put aside.
    pub quarantined: i64,
    /// What a full file did not show.
    pub missing: i64,
    /// Of these, gone.
    pub gone: i64,
    /// Why, in words.
    pub reason: Option<String>,
}

impl DropReport {
    /// Whether somebody has to do something.
    #[must_use]
    pub fn is_problem(&self) -> bool {
        let bad = |file: &FileReport| matches!(file.state, "failed" | "held") || file.quarantined > 0;
        self.late_since.is_some() || self.problem.is_some() || self.files.iter().any(bad)
    }
}

/// Looks into the folders of an EHR and takes what is complete. Blocks.
///
/// # Errors
/// [`DropError`]; what is wrong with a file or a folder is in the reports.
pub fn run(task: &Task<'_>, profile: &Profile) -> Result<Vec<DropReport>, DropError> {
    let all = Drop::all(profile).map_err(|mistakes| DropError::Declaration(task.ehr.clone(), mistakes))?;
    if all.is_empty() {
        return Ok(Vec::new());
    }
    let name = format!("drops/{}", task.ehr);
    let taken = task.store.write_blocking(Lane::Bulk, "take the lease of drop folders", |conn| {
        leases::acquire(conn, &name, task.holder.owner, task.clock.now(), task.holder.term, task.holder.is_dead)
    })?;
    let fence = taken.ok_or_else(|| DropError::Held(task.ehr.clone()))?;
    let percent = profile.vanish_limit_percent.unwrap_or(VANISH_LIMIT_PERCENT);
    let done = all.iter().map(|drop| Looking { task, drop, fence: &fence, percent }.look()).collect::<Result<Vec<_>, _>>();
    lease::give_back(task.store, std::slice::from_ref(&fence));
    Ok(done?)
}

/// One folder, being looked into.
struct Looking<'a> {
    task: &'a Task<'a>,
    drop: &'a Drop,
    fence: &'a Fence,
    percent: u8,
}

/// What becomes of a file next.
enum Next {
    /// It was dealt with.
    Done,
    /// It is not complete.
    Waits(String),
}

impl Looking<'_> {
    fn look(&self) -> Result<DropReport, StoreError> {
        let mut report =
            DropReport { drop: self.drop.name.clone(), files: Vec::new(), waiting: Vec::new(), late_since: None, problem: None };
        match folder::files(self.drop) {
            Ok(entries) => self.go_through(entries, &mut report)?,
            Err(error) => report.problem = Some(format!("the folder {} cannot be read: {}", self.drop.folder.display(), error.kind())),
        }
        self.note_status(&mut report)?;
        Ok(report)
    }

    fn go_through(&self, entries: Vec<Entry>, report: &mut DropReport) -> Result<(), StoreError> {
        let mut first: Option<String> = None;
        for entry in entries {
            if self.task.stop.load(Ordering::Relaxed) {
                return Ok(());
            }
            if let Some(first) = &first {
                report.waiting.push((entry.name, format!("it comes after {first}")));
                continue;
            }
            match self.deal_with(&entry, report) {
                Ok(Next::Done) => {}
                Ok(Next::Waits(why)) => {
                    // What comes after it would be taken before it.
                    first = Some(entry.name.clone());
                    report.waiting.push((entry.name, why));
                }
                Err(Stopped::Io(error)) => {
                    report.problem = Some(format!("a file of {} cannot be read or moved: {}", self.drop.folder.display(), error.kind()));
                    first = Some(entry.name);
                }
                Err(Stopped::Store(error)) => return Err(error),
            }
        }
        Ok(())
    }

    fn deal_with(&self, entry: &Entry, report: &mut DropReport) -> Result<Next, Stopped> {
        let (store, ehr, now) = (self.task.store, self.task.ehr, self.task.clock.now());
        let known =
            store.read_blocking(|conn| drops::same(conn, ehr, &self.drop.name, &entry.name, entry.size, entry.modified.micros()))?;
        if let Some(known) = known.as_ref().filter(|k| self.is_settled(k)) {
            return self.put_away(known.id, &known.state, entry).map(|()| Next::Done);
        }
        if known.as_ref().is_some_and(|k| k.state == "held" && !self.task.accept_vanished) && !self.is_overtaken(known.as_ref())? {
            return Ok(Next::Done);
        }
        if let Err(why) = folder::may_be_complete(self.drop, entry, now) {
            return Ok(Next::Waits(why));
        }
        let table = self.drop.table();
        match folder::look(self.drop, table.as_ref(), entry, now)? {
            Seen::Waits(why) => Ok(Next::Waits(why)),
            Seen::Bad(why) => {
                let number = self.begin(entry, "")?;
                self.end(number, entry, Account { state: "failed", reason: Some(why), ..Account::default() }, report)?;
                Ok(Next::Done)
            }
            Seen::Complete(hash) => {
                if self.is_overtaken(known.as_ref())? {
                    let reason = Some("a later full file was taken".to_owned());
                    let number = self.begin(entry, &hash)?;
                    self.end(number, entry, Account { state: "repeated", reason, ..Account::default() }, report)?;
                    return Ok(Next::Done);
                }
                if let Some(earlier) = self.taken_before(entry, &hash)? {
                    let reason = Some(format!("its content was taken before, as number {}", earlier.id));
                    if earlier.file != entry.name {
                        let number = self.begin(entry, &hash)?;
                        self.end(number, entry, Account { state: "repeated", reason, ..Account::default() }, report)?;
                        return Ok(Next::Done);
                    }
                    let again =
                        FileReport { number: earlier.id, file: entry.name.clone(), state: "repeated", reason, ..FileReport::default() };
                    report.files.push(again);
                    return self.put_away(earlier.id, "done", entry).map(|()| Next::Done);
                }
                self.take(entry, &hash, table, report)
            }
        }
    }

    /// Whether nothing is left to be done with a file but to move it. One that failed, was moved away and lies there again is to be tried
    /// again.
    fn is_settled(&self, known: &DropFile) -> bool {
        matches!(known.state.as_str(), "done" | "repeated") || (known.state == "failed" && !known.moved)
    }

    /// Whether a later full file was taken after this one was held.
    fn is_overtaken(&self, known: Option<&DropFile>) -> Result<bool, StoreError> {
        let Some(held) = known.filter(|k| k.state == "held") else { return Ok(false) };
        let last = self.task.store.read_blocking(|conn| drops::last_done(conn, self.task.ehr, &self.drop.name))?;
        Ok(last.is_some_and(|last| last.id > held.id))
    }

    /// The file by which this content was taken before. A full file with the content of the last one says that nothing has changed, and is
    /// taken under its own name.
    fn taken_before(&self, entry: &Entry, hash: &str) -> Result<Option<DropFile>, StoreError> {
        let (ehr, name) = (self.task.ehr, &self.drop.name);
        let (all, last) =
            self.task.store.read_blocking(|conn| Ok((drops::of_content(conn, ehr, name, hash)?, drops::last_done(conn, ehr, name)?)))?;
        let earlier = all.into_iter().find(|f| f.state == "done");
        let says_unchanged = |earlier: &DropFile| {
            self.drop.content == Content::Full && earlier.file != entry.name && last.as_ref().is_some_and(|last| last.hash == hash)
        };
        Ok(earlier.filter(|earlier| !says_unchanged(earlier)))
    }

    fn take(&self, entry: &Entry, hash: &str, table: Option<std::sync::Arc<Table>>, report: &mut DropReport) -> Result<Next, Stopped> {
        let (store, clock, ehr) = (self.task.store, self.task.clock, self.task.ehr);
        let number = self.begin(entry, hash)?;
        let full = self.drop.content == Content::Full;
        let input = Input { label: entry.name.as_str().into(), path: Some(entry.path.clone()), table };
        let alive = Mutex::new(clock.now());
        let progress = |p: Progress| {
            self.stay_alive(&alive);
            (self.task.progress)(p);
        };
        let done = import::run_inputs(store, clock, self.task.holder, ehr, &[input], full, self.task.stop, &progress);
        let (read, shown) = match done {
            Ok(done) => done,
            Err(ImportError::Held { kind, .. }) => return Ok(Next::Waits(format!("{kind} is being synced by another process"))),
            Err(ImportError::Store(error)) => return Err(error.into()),
            Err(error) => {
                self.end(number, entry, Account { state: "failed", reason: Some(error.to_string()), ..Account::default() }, report)?;
                return Ok(Next::Done);
            }
        };
        if read.interrupted {
            return Ok(Next::Waits("it was stopped half-way; the next look goes on".to_owned()));
        }
        let mut account = Account { state: "done", ..account(&read) };
        if folder::entry(&entry.path)?.is_none_or(|after| (after.size, after.modified) != (entry.size, entry.modified)) {
            // It is another file now, which is taken by itself.
            account.state = "failed";
            account.reason = Some("it was changed while it was read: it was not complete, and is taken again".to_owned());
            self.close(number, &account, &[])?;
            report.files.push(file_report(number, entry, account));
            return Ok(Next::Done);
        }
        if shown.cut_off || read.problems.iter().any(|p| p.contains("cut off")) {
            account.state = "failed";
            account.reason = Some("it is cut off: what could be read is stored; have it sent again".to_owned());
            self.end(number, entry, account, report)?;
            return Ok(Next::Done);
        }
        let left = if full { self.compare(&shown, &mut account)? } else { Vec::new() };
        self.close(number, &account, &left)?;
        let account = match &left[..] {
            [] => account,
            _ => self.told(number, account)?,
        };
        let state = account.state;
        report.files.push(file_report(number, entry, account));
        if state != "held" {
            self.put_away(number, state, entry)?;
        }
        Ok(Next::Done)
    }

    /// What a full file did not show; nothing where it cannot be told, or a person is to be asked first.
    fn compare(&self, shown: &Shown, account: &mut Account) -> Result<Vec<LeftOut>, StoreError> {
        if shown.uncertain {
            account.reason = Some("rows without a readable id: what the file does not show was not counted as missing".to_owned());
            return Ok(Vec::new());
        }
        let (store, ehr, now) = (self.task.store, self.task.ehr, self.task.clock.now());
        let mut all = Vec::new();
        for kind in self.drop.kinds() {
            let left = settle::left_out(store, ehr, self.drop, kind, shown, now)?;
            account.missing += i64::try_from(left.missed.len()).unwrap_or(i64::MAX);
            if !self.task.accept_vanished && store.read_blocking(|conn| left.is_too_much(conn, ehr, self.percent, now))? {
                account.state = "held";
                account.reason = Some(format!(
                    "{} of {} stored {kind}s are no longer shown, which is more than {} % at once; nothing was marked as gone. Ask the \
                     sender; if it is right, run `fhir-engage sync run --ehr {ehr} --accept-vanished`",
                    left.missed.len(),
                    left.expected,
                    self.percent
                ));
                return Ok(Vec::new());
            }
            all.push(left);
        }
        Ok(all)
    }

    fn begin(&self, entry: &Entry, hash: &str) -> Result<i64, StoreError> {
        let found = Found { file: &entry.name, hash, size: entry.size, modified_at: entry.modified.micros() };
        self.write("begin with a file", |conn| drops::begin(conn, self.task.ehr, &self.drop.name, found, self.task.clock.now()))
    }

    /// Notes what became of a file, and with it what it left out.
    fn close(&self, number: i64, account: &Account, left: &[LeftOut]) -> Result<(), StoreError> {
        self.write("end a file", |conn| {
            let now = self.task.clock.now();
            let mut account = account.clone();
            for one in left {
                account.gone += one.note(conn, self.task.ehr, now)?;
            }
            drops::end(conn, number, &account, now)
        })
    }

    /// The account as it was noted.
    fn told(&self, number: i64, account: Account) -> Result<Account, StoreError> {
        let noted = self.task.store.read_blocking(|conn| drops::file(conn, number))?;
        Ok(Account { gone: noted.map_or(account.gone, |file| file.gone), ..account })
    }

    fn end(&self, number: i64, entry: &Entry, account: Account, report: &mut DropReport) -> Result<(), Stopped> {
        self.close(number, &account, &[])?;
        let state = account.state;
        report.files.push(file_report(number, entry, account));
        self.put_away(number, state, entry)
    }

    fn put_away(&self, number: i64, state: &str, entry: &Entry) -> Result<(), Stopped> {
        if self.drop.keep {
            return Ok(());
        }
        folder::put_away(self.drop, entry, if state == "failed" { "failed" } else { "done" }, number).map_err(Stopped::Io)?;
        Ok(self.write("note that a file was moved", |conn| drops::moved(conn, number))?)
    }

    fn note_status(&self, report: &mut DropReport) -> Result<(), StoreError> {
        let (ehr, name, now) = (self.task.ehr, &self.drop.name, self.task.clock.now());
        let (all, last) =
            self.task.store.read_blocking(|conn| Ok((drops::statuses(conn, Some(ehr.as_str()))?, drops::last_done(conn, ehr, name)?)))?;
        let since = all.iter().find(|s| s.drop_name == *name).map_or(now, |s| Timestamp::from_micros(s.since));
        let last_taken_at = last.and_then(|file| file.ended_at);
        let late = |expected| expected::late_since(expected, now, since, last_taken_at.map(Timestamp::from_micros));
        report.late_since = self.drop.expected.as_ref().and_then(late);
        let status = DropStatus {
            ehr: ehr.to_string(),
            drop_name: name.clone(),
            since: since.micros(),
            checked_at: now.micros(),
            last_taken_at,
            late_since: report.late_since.map(Timestamp::micros),
            problem: report.problem.clone(),
        };
        self.write("note how a drop folder stands", |conn| drops::put_status(conn, &status))
    }

    /// A long file must not cost the lease.
    fn stay_alive(&self, last: &Mutex<Timestamp>) {
        let now = self.task.clock.now();
        let Ok(mut last) = last.lock() else { return };
        if now.since(*last) < self.task.holder.term.0 / 3 {
            return;
        }
        *last = now;
        if let Err(error) = self.write("extend the lease of drop folders", |_| Ok(())) {
            tracing::warn!(error = %error, "the lease of drop folders could not be extended");
        }
    }

    fn write<T>(&self, name: &'static str, mut f: impl FnMut(&mut crate::store::Conn) -> Result<T, StoreError>) -> Result<T, StoreError> {
        self.task.store.write_blocking(Lane::Interactive, name, |conn| {
            leases::extend(conn, self.fence, self.task.clock.now(), self.task.holder.term)?;
            f(conn)
        })
    }
}

/// Why a file could not be dealt with.
enum Stopped {
    Io(io::Error),
    Store(StoreError),
}

impl From<io::Error> for Stopped {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<StoreError> for Stopped {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

fn account(read: &Report) -> Account {
    let count = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    Account {
        lines: count(read.lines),
        stored: count(read.stored),
        unchanged: count(read.unchanged),
        superseded: count(read.superseded),
        ignored: count(read.ignored.values().sum()),
        quarantined: count(read.quarantined),
        ..Account::default()
    }
}

fn file_report(number: i64, entry: &Entry, a: Account) -> FileReport {
    FileReport {
        number,
        file: entry.name.clone(),
        state: a.state,
        lines: a.lines,
        stored: a.stored,
        unchanged: a.unchanged,
        superseded: a.superseded,
        ignored: a.ignored,
        quarantined: a.quarantined,
        missing: a.missing,
        gone: a.gone,
        reason: a.reason,
    }
}
