//! How what nobody has written for a while comes to rest: its text is packed, what was decoded is kept no longer than somebody
//! else holds it. Who holds it lets go of it some time later and tells nobody, so it is looked at again: even the room of what is
//! gone is a third of what a pod takes in all.

use std::collections::VecDeque;
use std::sync::Arc;

use super::PODS;
use super::object::Object;
use super::pack::Bases;
use super::state::Tired;

/// How many of those that somebody held are looked at again each time: so many, and in a rush a few for each that comes.
const LOOKS: usize = 64;
const LOOKS_EACH: usize = 4;

/// What those at rest are told by, and which of them somebody held when they were looked at last.
#[derive(Debug, Default)]
pub(super) struct Rest {
    bases: Bases,
    held: VecDeque<Arc<Object>>,
}

impl Rest {
    /// Makes these small, and gives back the room of what nobody holds any more.
    pub(super) fn take(&mut self, tired: Vec<Tired>) {
        let looks = LOOKS.max(tired.len() * LOOKS_EACH);
        for Tired { object, is_gone } in tired {
            // Of what is not a pod there is little that anybody in this process decodes.
            if (is_gone || object.key.resource() == PODS) && object.forget() {
                self.held.push_back(Arc::clone(&object));
            }
            object.rest(&mut self.bases);
        }
        for _ in 0..looks.min(self.held.len()) {
            let Some(object) = self.held.pop_front() else { break };
            if object.is_held() {
                self.held.push_back(object);
            }
        }
    }

    /// Makes small what was read at the start.
    pub(super) fn load(&mut self, object: &Object) {
        if object.key.resource() == PODS {
            object.forget(); // nobody can hold it yet
        }
        object.rest(&mut self.bases);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::object::{Draft, Key};
    use super::*;

    #[test]
    fn what_was_held_is_looked_at_until_nobody_holds_it() {
        let mut rest = Rest::default();
        let object = Arc::new(
            Draft::new(PODS, &json!({"metadata": {"name": "a"}}), |_, _| Value::Null).seal(Key::new(PODS, "n", "a"), 7),
        );
        let held = object.pod().unwrap();
        rest.take(vec![Tired { object: Arc::clone(&object), is_gone: false }]);
        rest.take(Vec::new());
        assert!(Arc::ptr_eq(&held, &object.pod().unwrap()));
        assert_eq!(rest.held.len(), 1);
        drop(held);
        rest.take(Vec::new());
        assert_eq!(rest.held.len(), 0);
    }
}
