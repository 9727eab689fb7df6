//! The order of a merged list. Items that the patch names stand in the patch's order, all others in the stored order; the
//! two runs are interleaved by the stored order where it knows both neighbours, and an item it does not know comes as
//! soon as its turn in the patch's order is there (so that what a patch adds without saying where comes first).
//!
//! Items are told apart by their *identity*: the value of the merge key, or the item itself in a list of plain values.

use std::collections::{HashMap, VecDeque};

use serde_json::Value;

/// What tells an item apart. `None`: an object without the key, which is like no other.
pub(super) fn identity<'a>(item: &'a Value, key: Option<&str>) -> Option<&'a Value> {
    match key {
        Some(key) => item.get(key),
        None => Some(item),
    }
}

/// The identities of a list, in its order.
pub(super) fn identities(list: &[Value], key: Option<&str>) -> Vec<Value> {
    list.iter().map(|it| identity(it, key).cloned().unwrap_or(Value::Null)).collect()
}

/// Where each identity stands first.
pub(super) fn places(identities: &[Value]) -> HashMap<&Value, usize> {
    let mut places = HashMap::with_capacity(identities.len());
    for (place, identity) in identities.iter().enumerate().filter(|(_, it)| !it.is_null()) {
        places.entry(identity).or_insert(place);
    }
    places
}

/// Puts `items` in order; `wanted` is the order of the patch and `stored` the order before, both as identities.
pub(super) fn arrange(items: &mut Vec<Value>, wanted: &[Value], stored: &[Value], key: Option<&str>) {
    let wanted = places(wanted);
    let stored = places(stored);
    let mut named = Vec::new();
    let mut others = Vec::new();
    for item in items.drain(..) {
        let identity = identity(&item, key);
        let before = identity.and_then(|it| stored.get(it).copied());
        match identity.and_then(|it| wanted.get(it).copied()) {
            Some(place) => named.push((place, before, item)),
            None => others.push((before.unwrap_or(usize::MAX), before, item)),
        }
    }
    // Both sorts are stable, so that what the orders do not know stays as it came.
    named.sort_by_key(|(place, _, _)| *place);
    others.sort_by_key(|(place, _, _)| *place);
    let mut named = VecDeque::from(named);
    let mut others = VecDeque::from(others);
    loop {
        let other_first = match (others.front(), named.front()) {
            (None, None) => break,
            (Some(_), None) => true,
            (None, Some(_)) => false,
            (Some((_, other, _)), Some((_, name, _))) => {
                matches!((other, name), (Some(other), Some(name)) if other < name)
            }
        };
        let next = if other_first { others.pop_front() } else { named.pop_front() };
        items.extend(next.map(|(_, _, item)| item));
    }
}
