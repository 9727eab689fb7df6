//! One for all who have the same: pods come in numbers and of few templates, and what is decided about one is decided about
//! the next.

use std::collections::VecDeque;
use std::sync::Arc;

/// How many different ones are remembered.
const MOST: usize = 16;

/// The values that were lately made.
#[derive(Debug)]
pub struct Lately<T>(VecDeque<Arc<T>>);

impl<T> Default for Lately<T> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<T: PartialEq> Lately<T> {
    /// The value as somebody else may have it already.
    pub fn shared(&mut self, value: T) -> Arc<T> {
        if let Some(same) = self.0.iter().find(|it| ***it == value) {
            return Arc::clone(same);
        }
        let value = Arc::new(value);
        self.keep(Arc::clone(&value));
        value
    }

    /// Likewise of one that is shared by some already.
    pub fn same(&mut self, value: Arc<T>) -> Arc<T> {
        if let Some(same) = self.0.iter().find(|it| **it == value) {
            return Arc::clone(same);
        }
        self.keep(Arc::clone(&value));
        value
    }

    fn keep(&mut self, value: Arc<T>) {
        self.0.truncate(MOST - 1);
        self.0.push_front(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_are_one_and_the_oldest_is_forgotten() {
        let mut lately = Lately::default();
        let first = lately.shared(0);
        assert!(Arc::ptr_eq(&first, &lately.shared(0)));
        assert!(Arc::ptr_eq(&first, &lately.same(Arc::new(0))));
        (1..=MOST).for_each(|it| drop(lately.shared(it)));
        assert!(!Arc::ptr_eq(&first, &lately.shared(0)));
    }
}
