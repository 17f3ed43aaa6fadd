//! Order among threads: what is done in parallel is handed on in the order of the input.
//!
//! Also knows which ids are on their way to the store. A line whose id is on its way cannot be compared with what is stored yet.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, DefaultHasher, Hash, Hasher};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use domain::model::ResourceType;

/// Stands for a (type, id). Two that fall together cost a comparison in the transaction, no more.
pub(in crate::sync) type IdHash = u64;

/// The hash of a (type, id).
pub(in crate::sync) fn id_hash(kind: ResourceType, id: &str) -> IdHash {
    let mut hasher = DefaultHasher::new();
    (kind, id).hash(&mut hasher);
    hasher.finish()
}

/// Lets numbered work pass one by one, in order.
pub(in crate::sync) struct Turns {
    next: Mutex<Option<u64>>,
    moved: Condvar,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A number and a map of counts: a panic elsewhere cannot leave them half changed.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Turns {
    pub(in crate::sync) const fn new() -> Self {
        Self { next: Mutex::new(Some(0)), moved: Condvar::new() }
    }

    /// Runs `f` when all lower numbers have passed; `None` where the work was given up.
    pub(in crate::sync) fn take<T>(&self, number: u64, f: impl FnOnce() -> T) -> Option<T> {
        let mut next = lock(&self.next);
        loop {
            match *next {
                None => return None,
                Some(n) if n == number => break,
                Some(_) => next = self.moved.wait(next).unwrap_or_else(PoisonError::into_inner),
            }
        }
        // Whoever has the turn is alone by its number, so `f` may wait without holding the lock.
        drop(next);
        let done = f();
        let mut next = lock(&self.next);
        *next = next.map(|n| n + 1);
        self.moved.notify_all();
        Some(done)
    }

    /// Lets nobody pass any more.
    pub(in crate::sync) fn give_up(&self) {
        *lock(&self.next) = None;
        self.moved.notify_all();
    }
}

/// The ids that are on their way to the store, with how often.
#[derive(Default)]
pub(in crate::sync) struct InFlight(Mutex<HashMap<IdHash, u32, BuildHasherDefault<DefaultHasher>>>);

impl InFlight {
    /// Adds ids; tells of each whether it was on its way already.
    pub(in crate::sync) fn add(&self, ids: &[IdHash]) -> Vec<bool> {
        let mut all = lock(&self.0);
        ids.iter()
            .map(|id| {
                let times = all.entry(*id).or_insert(0);
                *times += 1;
                *times > 1
            })
            .collect()
    }

    /// These have arrived, or are not going there.
    pub(in crate::sync) fn remove(&self, ids: &[IdHash]) {
        let mut all = lock(&self.0);
        for id in ids {
            if let std::collections::hash_map::Entry::Occupied(mut times) = all.entry(*id) {
                *times.get_mut() -= 1;
                if *times.get() == 0 {
                    times.remove();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{InFlight, Turns};
    use std::sync::Mutex;

    #[test]
    fn passes_in_order_whatever_the_threads_do() {
        let (turns, seen) = (Turns::new(), Mutex::new(Vec::new()));
        std::thread::scope(|scope| {
            for number in (0..16).rev() {
                let (turns, seen) = (&turns, &seen);
                scope.spawn(move || turns.take(number, || seen.lock().unwrap().push(number)));
            }
        });
        assert_eq!(seen.into_inner().unwrap(), (0..16).collect::<Vec<_>>());
    }

    #[test]
    fn giving_up_wakes_those_who_wait() {
        let turns = Turns::new();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| turns.take(5, || ()));
            turns.give_up();
            assert_eq!(waiting.join().unwrap(), None);
        });
    }

    #[test]
    fn an_id_is_on_its_way_until_all_of_it_arrived() {
        let ids = InFlight::default();
        assert_eq!(ids.add(&[1, 2, 1]), [false, false, true]);
        ids.remove(&[1]);
        assert_eq!(ids.add(&[1]), [true]);
        ids.remove(&[1, 1, 2]);
        assert_eq!(ids.add(&[1, 2]), [false, false]);
    }
}
