//! The labels of pods whose workload has no object that is watched, so that they have to speak for it. As text, because there may be
//! as many as there are pods: a map of so few words takes several times as much.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

/// As the API has them.
pub type Map = BTreeMap<String, String>;

/// The labels of one pod, or of several that have the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Labels(Arc<str>);

impl Labels {
    /// These. Neither a name nor a value can have the signs in it that part them here.
    pub fn of(labels: &Map) -> Self {
        Self(labels.iter().map(|(name, value)| format!("{name}={value}\n")).collect::<String>().into())
    }

    /// As a map again.
    pub fn read(&self) -> Map {
        let pairs = self.0.lines().filter_map(|it| it.split_once('='));
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    /// The same as another, kept once for both.
    pub fn share(&mut self, other: &Self) {
        if self == other {
            *self = other.clone();
        }
    }
}

/// What all of them say: whatever differs from pod to pod says nothing of their workload.
pub fn common<'a>(all: impl Iterator<Item = &'a Labels>) -> Map {
    let mut first: Option<(&Labels, Map)> = None;
    for labels in all {
        match &mut first {
            None => first = Some((labels, labels.read())),
            Some((same, _)) if *same == labels => {}
            Some((_, kept)) => {
                let other = labels.read();
                kept.retain(|name, value| other.get(name) == Some(value));
            }
        }
    }
    first.map(|it| it.1).unwrap_or_default()
}

/// Each of them once, as far as neighbours are the same.
pub fn each<'a>(all: impl Iterator<Item = &'a Labels>) -> Vec<Cow<'static, Map>> {
    let mut all: Vec<&Labels> = all.collect();
    all.dedup();
    all.into_iter().map(|it| Cow::Owned(it.read())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(text: &[(&str, &str)]) -> Map {
        text.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn labels_come_back_as_they_were() {
        for labels in [map(&[]), map(&[("app", "web"), ("example.com/empty", "")])] {
            assert_eq!(Labels::of(&labels).read(), labels);
        }
    }

    #[test]
    fn what_pods_have_in_common() {
        let all = [("web", "a"), ("web", "a"), ("web", "b")]
            .map(|(app, pod)| Labels::of(&map(&[("app", app), ("pod", pod)])));
        assert_eq!(common(all.iter()), map(&[("app", "web")]));
        assert_eq!(common(all[..2].iter()), map(&[("app", "web"), ("pod", "a")]));
        assert_eq!(common([].iter()), map(&[]));
        assert_eq!(each(all.iter()).len(), 2);
    }
}
