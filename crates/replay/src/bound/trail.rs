//! Which changes the best way to each size was made of. Most ways were one until lately, and what they share is kept once; what led to a
//! size that nobody is at any more is forgotten.

/// Changes that are taken in before it is looked what may be forgotten, beside as many as are remembered.
const UNLOOKED: usize = 1024;

/// A place in a trail: that of a change, or the beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place(u32);

const BEGINNING: Place = Place(0);

/// A change of size.
#[derive(Clone, Copy, Debug)]
struct Change {
    time: i64,
    /// The size that was left. Where it led to says who asks.
    from: u32,
    /// The change before it.
    before: Place,
}

/// The changes that led to every size.
#[derive(Clone, Debug)]
pub struct Trail {
    began: Option<i64>,
    /// Each after the one before it; the first has place 1.
    changes: Vec<Change>,
    /// By size: the last change of the best way there.
    last: Vec<Place>,
    /// So many changes there may be before it is looked what may be forgotten.
    room: usize,
}

impl Trail {
    /// Of so many sizes.
    pub fn new(sizes: usize) -> Self {
        Self { began: None, changes: Vec::new(), last: vec![BEGINNING; sizes], room: UNLOOKED }
    }

    /// Time goes on, and there are ways to these sizes still.
    pub fn at(&mut self, time: i64, is_there: impl Fn(usize) -> bool) {
        self.began.get_or_insert(time);
        if self.changes.len() > self.room {
            self.forget(is_there);
        }
    }

    /// From a size one may go to others: where [`Trail::lead`] says. The place is good until the next time.
    pub fn change(&mut self, time: i64, from: usize) -> Place {
        let before = self.last.get(from).copied().unwrap_or(BEGINNING);
        self.changes.push(Change { time, from: u32::try_from(from).unwrap_or(u32::MAX), before });
        Place(u32::try_from(self.changes.len()).unwrap_or(u32::MAX))
    }

    /// The best way to a size came there by this change.
    pub fn lead(&mut self, to: usize, change: Place) {
        if let Some(last) = self.last.get_mut(to) {
            *last = change;
        }
    }

    /// From when on which size was in force on the best way that ends at this one.
    pub fn changes(&self, mut size: usize) -> Vec<(i64, usize)> {
        let Some(began) = self.began else { return Vec::new() };
        let mut found = Vec::new();
        let mut at = self.last.get(size).copied().unwrap_or(BEGINNING);
        while let Some(change) = self.get(at) {
            found.push((change.time, size));
            (size, at) = (index(change.from), change.before);
        }
        found.push((began, size));
        found.reverse();
        found
    }

    /// How many changes are remembered.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.changes.len()
    }

    fn get(&self, at: Place) -> Option<&Change> {
        self.changes.get(index(at.0).checked_sub(1)?)
    }

    /// Forgets all that led only to sizes that nobody is at.
    fn forget(&mut self, is_there: impl Fn(usize) -> bool) {
        let mut kept = vec![false; self.changes.len()];
        for (size, last) in self.last.iter().enumerate() {
            let mut at = if is_there(size) { *last } else { BEGINNING };
            while let Some(change) = self.get(at)
                && !std::mem::replace(&mut kept[index(at.0) - 1], true)
            {
                at = change.before;
            }
        }
        // By the place a change had, the one it gets; none of those that are kept comes after one that is not.
        let mut places = vec![BEGINNING];
        let mut next = 0;
        for kept in &kept {
            next += u32::from(*kept);
            places.push(if *kept { Place(next) } else { BEGINNING });
        }
        let mut kept = kept.into_iter();
        self.changes.retain(|_| kept.next().unwrap_or(false));
        let moved = |place: Place| places[index(place.0)];
        self.changes.iter_mut().for_each(|it| it.before = moved(it.before));
        self.last.iter_mut().for_each(|it| *it = moved(*it));
        self.room = 2 * self.changes.len() + UNLOOKED;
    }
}

fn index(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
