//! How many requests each node may have on their way, so that in sum there are never more than allowed. Pure.
//!
//! A node that has seats keeps them while it shows itself. Where others come, each goes down to its fair share as its requests end; where
//! there are fewer seats than nodes, they go round.

use chrono::TimeDelta;
use domain::Timestamp;

use super::ledger::Ask;

/// How long a node has its seats without a sign of life.
pub(super) const TERM: TimeDelta = TimeDelta::seconds(5);
/// How long a node keeps seats for which others wait who have none.
const TURN: TimeDelta = TimeDelta::seconds(1);

/// What a node has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seat {
    /// The node.
    pub node: String,
    /// Requests that it may have on their way.
    pub seats: u32,
    /// How many it would have.
    pub wanted: u32,
    /// Since when it has some; or waits, where it has none.
    pub since: Timestamp,
    /// Until then without a sign of life.
    pub expires: Timestamp,
}

/// How many requests a node may have on their way now.
pub(super) fn allot(all: &mut Vec<Seat>, ask: &Ask, most: u32, now: Timestamp) -> u32 {
    // A clock that was set back must not hold seats for longer than a term.
    all.retain(|s| s.node == ask.node || (s.expires > now && s.expires <= now.plus(TERM * 2)));
    let own = all.iter().position(|s| s.node == ask.node).map(|at| all.remove(at));
    let wanted = ask.seats.max(ask.in_flight);
    if wanted == 0 {
        return 0;
    }
    let expires = now.plus(TERM);
    let taken: u32 = all.iter().map(|s| s.seats).sum();
    let others = u32::try_from(all.iter().filter(|s| s.wanted > 0).count()).unwrap_or(u32::MAX);
    let room = most.saturating_sub(taken);
    let (held, since) = own.filter(|s| s.expires > now).map_or((0, now), |s| (s.seats, s.since));
    let hungry = all.iter().filter(|s| s.seats == 0 && s.wanted > 0);
    let seats = if held == 0 {
        // Whoever has waited longer comes first.
        let before = u32::try_from(hungry.filter(|s| s.since < since).count()).unwrap_or(u32::MAX);
        room.saturating_sub(before).min(wanted).min(fair(most, others))
    } else if hungry.count() > 0 && others >= most && now.since(since) >= TURN {
        0
    } else {
        wanted.min(fair(most, others)).min(room)
    };
    // What is on its way is on its way.
    let seats = seats.max(ask.in_flight.min(held));
    let since = if (held == 0) == (seats == 0) { since } else { now };
    all.push(Seat { node: ask.node.clone(), seats, wanted, since, expires });
    seats
}

fn fair(most: u32, others: u32) -> u32 {
    (most / others.saturating_add(1)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ask(node: usize, seats: u32, in_flight: u32) -> Ask {
        Ask { node: format!("n{node}"), seats, in_flight, ..Ask::default() }
    }

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_micros(1_800_000_000_000_000 + millis * 1000)
    }

    proptest! {
        /// Whoever asks when, goes away or comes back: in sum no more than allowed are on their way among those who show themselves.
        #[test]
        fn in_sum_there_are_never_more_than_allowed(
            most in 1_u32..20,
            steps in proptest::collection::vec((0_usize..4, 0_u32..30, 0_u32..30, 0_i64..700), 1..200),
        ) {
            let (mut all, mut now) = (Vec::new(), 0);
            let mut nodes = [(0_u32, 0_u32, 0_i64); 4];
            for (node, wanted, goes, gap) in steps {
                now += gap;
                let (seats, in_flight, until) = nodes[node];
                // A node whose term ended sends nothing more, and what it sent is answered or given up.
                let in_flight = if until <= now { 0 } else { in_flight.min(goes) };
                let seats = if until <= now { 0 } else { seats };
                prop_assert!(in_flight <= seats);
                let got = allot(&mut all, &ask(node, wanted, in_flight), most, at(now));
                nodes[node] = (got, got.min(wanted).max(in_flight), now + 5000);
                let sum: u32 = nodes.iter().filter(|(_, _, until)| *until > now).map(|(seats, _, _)| seats).sum();
                prop_assert!(sum <= most, "{sum} of {most}: {nodes:?}");
            }
        }
    }

    #[test]
    fn seats_are_shared_fairly_and_go_round_where_there_are_too_few() {
        let mut all = Vec::new();
        assert_eq!(allot(&mut all, &ask(0, 20, 0), 8, at(0)), 8);
        assert_eq!(allot(&mut all, &ask(1, 20, 0), 8, at(1)), 0, "all are taken");
        assert_eq!(allot(&mut all, &ask(0, 20, 6), 8, at(2)), 6, "the first goes down as its requests end");
        assert_eq!(allot(&mut all, &ask(1, 20, 0), 8, at(3)), 2);
        assert_eq!((allot(&mut all, &ask(0, 20, 1), 8, at(4)), allot(&mut all, &ask(1, 20, 2), 8, at(5))), (4, 4));
        let mut all = Vec::new();
        let mut had = [0; 3];
        for step in 0..300_i64 {
            for (node, had) in had.iter_mut().enumerate() {
                *had += allot(&mut all, &ask(node, 3, 0), 1, at(step * 100));
            }
        }
        assert!(had.iter().all(|n| *n > 60) && had.iter().sum::<u32>() <= 300, "{had:?}");
    }
}
