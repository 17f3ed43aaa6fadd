//! What an EHR tells of by itself, taken in: each event becomes a request to read (`store::refresh`), in one transaction with what is then known
//! of the numbers of events. Nothing is read here and nothing of a body is kept. What cannot be followed (an event that names no resource, a
//! flood, numbers that do not come) has the type read anew by its other way instead.

use chrono::TimeDelta;
use domain::Timestamp;
use domain::model::{EhrId, FhirId, ResourceType};

use crate::ehr::profile::Strategy;
use crate::ehr::subscription::Manner;
use crate::ehr::subscription::notification::{Kind, Notification};
use crate::store::subscriptions::{self, Heard, Row};
use crate::store::{Conn, StoreError, refresh};

/// Requests of one type that may wait; with more, the type is read anew in their place.
pub const MOST_WAITING: i64 = 1_000;
/// How long a number that did not come is waited for: events come in no order.
const GRACE: TimeDelta = TimeDelta::seconds(10);

/// How far apart a type is read anew at most because of events, by how much that costs: a forged notification must not cost a full sync each.
#[must_use]
pub const fn spacing(other_way: Strategy) -> TimeDelta {
    match other_way {
        Strategy::Cursor => TimeDelta::seconds(60),
        _ => TimeDelta::hours(1),
    }
}

/// The numbers of a subscription's events so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Numbers {
    /// The highest.
    pub last: i64,
    /// From the first to the last that did not come.
    pub missing: Option<(i64, i64)>,
    /// One came that was there before, or that should not be: they may have begun anew.
    pub in_doubt: bool,
}

impl Numbers {
    /// As they are stored.
    #[must_use]
    pub fn of(row: &Row) -> Self {
        Self { last: row.last_number.unwrap_or(0), missing: row.missing_from.zip(row.missing_to), in_doubt: row.in_doubt }
    }

    /// One has come.
    pub fn came(&mut self, number: i64) {
        if number > self.last {
            self.miss_up_to(number - 1);
            self.last = number;
            return;
        }
        self.missing = match self.missing {
            Some((from, to)) if from == number && to == number => None,
            Some((from, to)) if from == number => Some((from + 1, to)),
            Some((from, to)) if to == number => Some((from, to - 1)),
            // In the middle of what is missing: some of them are asked for twice, which costs a read.
            Some((from, to)) if from < number && number < to => Some((from, to)),
            other => {
                self.in_doubt = true;
                other
            }
        };
    }

    /// So many have been sent.
    pub fn counted(&mut self, count: i64) {
        if count < self.last {
            self.in_doubt = true;
        } else {
            self.miss_up_to(count);
            self.last = count;
        }
    }

    fn miss_up_to(&mut self, to: i64) {
        if to > self.last {
            self.missing = Some((self.missing.map_or(self.last + 1, |(from, _)| from), to));
        }
    }
}

/// What was done with a notification.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Resources that are to be read.
    pub asked: usize,
    /// The type is to be read anew.
    pub reread: bool,
}

/// Takes in what came by a subscription. `named` is what its address said, where that names a resource. In one transaction.
///
/// # Errors
/// The engine's refusal.
pub fn take(conn: &mut Conn, row: &Row, came: &Notification, other_way: Strategy, now: Timestamp) -> Result<Taken, StoreError> {
    let (Ok(ehr), Some(of)) = (EhrId::parse(&row.ehr), ResourceType::parse(&row.rtype)) else {
        return Err(StoreError::Damaged("a subscription"));
    };
    let manner = Manner::parse(&row.manner).ok_or(StoreError::Damaged("a subscription"))?;
    let mut numbers = Numbers::of(row);
    let mut taken = Taken::default();
    let mut waiting = refresh::waiting(conn, &ehr, of)?;
    for event in &came.events {
        if manner.is_numbered()
            && let Some(number) = event.number
        {
            numbers.came(number);
        }
        // A topic may tell of other types too; the one that it was asked for is the one that is read.
        match event.focus.as_ref().filter(|(kind, id)| kind == of.as_str() && FhirId::parse(id).is_some()) {
            Some((_, id)) if waiting < MOST_WAITING => {
                refresh::ask(conn, &ehr, of, id, "event", now)?;
                waiting += 1;
                taken.asked += 1;
            }
            Some(_) => taken.reread = true,
            None if event.focus.is_none() => taken.reread = true,
            None => {}
        }
    }
    if let Some(count) = came.count.filter(|_| manner.is_numbered()) {
        numbers.counted(count);
    }
    if taken.reread {
        subscriptions::reread(conn, row, spacing(other_way), now)?;
    }
    let wait = numbers.missing.is_some() || numbers.in_doubt;
    let heard = Heard {
        events: if came.kind == Kind::Events { i64::try_from(came.events.len()).unwrap_or(i64::MAX) } else { 0 },
        last_number: manner.is_numbered().then_some(numbers.last),
        missing: numbers.missing,
        in_doubt: numbers.in_doubt,
        look_at: wait.then(|| now.plus(GRACE)),
    };
    subscriptions::heard(conn, row.id, heard, now)?;
    Ok(taken)
}

#[cfg(test)]
mod tests {
    use super::Numbers;

    fn after(numbers: &[i64]) -> Numbers {
        let mut all = Numbers::default();
        numbers.iter().for_each(|n| all.came(*n));
        all
    }

    #[test]
    fn a_gap_is_seen_and_closed_and_a_number_of_before_is_doubted() {
        for (came, last, missing, in_doubt) in [
            (&[1, 2, 3][..], 3, None, false),
            (&[1, 4], 4, Some((2, 3)), false),
            (&[2], 2, Some((1, 1)), false),
            (&[1, 3, 2], 3, None, false),
            (&[1, 5, 3, 2, 4], 5, Some((3, 3)), false),
            (&[1, 3, 6, 2], 6, Some((3, 5)), false),
            (&[1, 2, 2], 2, None, true),
            (&[1, 2, 3, 1], 3, None, true),
        ] {
            assert_eq!(after(came), Numbers { last, missing, in_doubt }, "{came:?}");
        }
        let mut counted = after(&[1, 2]);
        counted.counted(4);
        assert_eq!(counted, Numbers { last: 4, missing: Some((3, 4)), in_doubt: false });
        counted.counted(1);
        assert!(counted.in_doubt);
    }
}
