//! What to do with the next entries of an endpoint: which are delivered, in which groups, and how
//! far the cursor moves. Pure functions.

use std::collections::{HashMap, HashSet};

use uuid::Uuid;

use super::event::Typed;
use super::members::Ordering;
use crate::store::Position;

/// An entry, with its event if that is to be delivered.
pub struct Planned<T = Typed> {
    /// The place of the entry.
    pub position: Position,
    /// The event. `None` if the endpoint does not get it, or if it waits.
    pub event: Option<T>,
}

/// Returns the events in the groups in which they are delivered one after the other. The groups are
/// in the order of their first events.
pub fn groups<T>(ordering: Ordering, planned: Vec<Planned<T>>) -> Vec<Vec<(Position, T)>> {
    let mut groups: Vec<Vec<(Position, T)>> = Vec::new();
    let mut of_object = HashMap::new();
    for Planned { position, event } in planned {
        let Some(event) = event else { continue };
        let group = match ordering {
            Ordering::Object => *of_object.entry(position.sid).or_insert(groups.len()),
            Ordering::Strict => 0,
            Ordering::None => groups.len(),
        };
        if group == groups.len() {
            groups.push(Vec::new());
        }
        groups[group].push((position, event));
    }
    groups
}

/// Returns the place up to which all entries are settled: passed, delivered, failed, or waiting
/// behind a failed one. `None` if the first is not.
pub fn settled_end(
    ordering: Ordering,
    entries: &[(Position, bool)],
    delivered: &HashSet<Position>,
    failed: &HashSet<Position>,
) -> Option<Position> {
    let blocked: HashSet<Uuid> = failed.iter().map(|position| position.sid).collect();
    let mut end = None;
    for (position, has_event) in entries {
        let waits = ordering == Ordering::Object && blocked.contains(&position.sid);
        let has_failed = failed.contains(position);
        if *has_event && !delivered.contains(position) && !has_failed && !waits {
            break;
        }
        end = Some(*position);
        if has_failed && ordering == Ordering::Strict {
            break;
        }
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(epoch: i64, object: u128) -> Position {
        Position { epoch, sid: Uuid::from_u128(object), version: epoch }
    }

    fn planned(positions: &[(Position, bool)]) -> Vec<Planned<i64>> {
        let plan = |(position, has_event): &(Position, bool)| Planned {
            position: *position,
            event: has_event.then_some(position.epoch),
        };
        positions.iter().map(plan).collect()
    }

    #[test]
    fn events_of_an_object_follow_each_other() {
        let entries = [
            (at(1, 1), true),
            (at(2, 2), true),
            (at(3, 1), true),
            (at(4, 3), false),
            (at(5, 2), true),
        ];
        let epochs = |ordering| {
            let groups = groups(ordering, planned(&entries)).into_iter();
            groups.map(|group| group.into_iter().map(|(_, event)| event).collect()).collect()
        };
        let by_object: Vec<Vec<i64>> = epochs(Ordering::Object);
        assert_eq!(by_object, [vec![1, 3], vec![2, 5]]);
        let strict: Vec<Vec<i64>> = epochs(Ordering::Strict);
        assert_eq!(strict, [vec![1, 2, 3, 5]]);
        let none: Vec<Vec<i64>> = epochs(Ordering::None);
        assert_eq!(none, [[1], [2], [3], [5]]);
    }

    #[test]
    fn the_cursor_stops_before_what_is_not_settled() {
        let entries = [(at(1, 1), true), (at(2, 2), true), (at(3, 1), true), (at(4, 3), false)];
        let end = |ordering, delivered: &[Position], failed: &[Position]| {
            let delivered = delivered.iter().copied().collect();
            let failed = failed.iter().copied().collect();
            settled_end(ordering, &entries, &delivered, &failed).map(|end| end.epoch)
        };
        let [one, two, three] = [at(1, 1), at(2, 2), at(3, 1)];
        for ordering in [Ordering::Object, Ordering::Strict, Ordering::None] {
            assert_eq!(end(ordering, &[], &[]), None);
            assert_eq!(end(ordering, &[one, two, three], &[]), Some(4));
            assert_eq!(end(ordering, &[one, three], &[]), Some(1));
        }
        assert_eq!(end(Ordering::Object, &[two], &[one]), Some(4), "the third waits");
        assert_eq!(end(Ordering::Object, &[], &[one]), Some(1), "the second was not attempted");
        assert_eq!(end(Ordering::Strict, &[], &[one]), Some(1));
        assert_eq!(end(Ordering::Strict, &[one], &[two]), Some(2));
        assert_eq!(end(Ordering::None, &[two], &[one]), Some(2), "the third does not wait");
        assert_eq!(end(Ordering::None, &[two, three], &[one]), Some(4));
    }
}
