//! Whose turn it is. Pure: moments are durations since any one moment.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::source::backoff::Backoff;

/// How fast nodes are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Between two questions, whomever they go to: what bounds the load on the API server.
    pub between: Duration,
    /// No node is asked more often than this, unless it is hurried.
    pub each: Duration,
    /// Questions under way at once.
    pub at_once: usize,
    /// How long a node is left in peace that did not answer.
    pub backoff: Backoff,
}

impl Default for Pace {
    /// Five nodes a second, which is ten calls, and none more often than every half a minute: 500 nodes have their turn
    /// in 100 s.
    fn default() -> Self {
        Self {
            between: Duration::from_millis(200),
            each: Duration::from_secs(30),
            at_once: 4,
            backoff: Backoff { first: Duration::from_secs(30), longest: Duration::from_secs(600) },
        }
    }
}

/// The nodes and their turns.
#[derive(Clone, Debug)]
pub struct Sweep {
    pace: Pace,
    nodes: BTreeMap<Arc<str>, Turn>,
    last: Option<Duration>,
}

#[derive(Clone, Debug, Default)]
struct Turn {
    asked: Option<Duration>,
    not_before: Duration,
    failures: u32,
    underway: bool,
    hurried: bool,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Ask this node; it counts as asked.
    Ask(Arc<str>),
    /// Nobody's turn comes before this time has passed, or something else happens.
    Wait(Duration),
}

/// With nothing to do there is no hurry to look again.
const IDLE: Duration = Duration::from_secs(3600);

impl Sweep {
    /// No nodes yet.
    #[must_use]
    pub fn new(pace: Pace) -> Self {
        Self { pace, nodes: BTreeMap::new(), last: None }
    }

    /// These are the nodes there are.
    pub fn nodes(&mut self, names: impl IntoIterator<Item = Arc<str>>) {
        let mut old = std::mem::take(&mut self.nodes);
        self.nodes = names.into_iter().map(|name| (name.clone(), old.remove(&name).unwrap_or_default())).collect();
    }

    /// Whether there is such a node.
    #[must_use]
    pub fn knows(&self, node: &str) -> bool {
        self.nodes.contains_key(node)
    }

    /// Ask this node before others, and as soon as may be.
    pub fn hurry(&mut self, node: &str) {
        if let Some(turn) = self.nodes.get_mut(node) {
            turn.hurried = true;
        }
    }

    /// What to do now: of those whose turn has come, whoever is hurried, then whoever was not asked for longest.
    pub fn next(&mut self, now: Duration) -> Next {
        if self.nodes.values().filter(|it| it.underway).count() >= self.pace.at_once {
            return Next::Wait(IDLE); // an answer comes first
        }
        let free = self.last.map_or(Duration::ZERO, |last| last + self.pace.between);
        if free > now {
            return Next::Wait(free - now);
        }
        let pace = self.pace;
        let waiting = self.nodes.iter_mut().filter(|(_, turn)| !turn.underway);
        let Some((due, (name, turn))) = waiting
            .map(|(name, turn)| (turn.due(pace), (name, turn)))
            .min_by_key(|(due, (_, turn))| (*due > now, !turn.hurried, turn.asked, *due))
        else {
            return Next::Wait(IDLE);
        };
        if due > now {
            // The first by name of those asked at one moment; another may be due a little sooner.
            let soonest = self.nodes.values().filter(|it| !it.underway).map(|it| it.due(pace)).min().unwrap_or(due);
            return Next::Wait(soonest.saturating_sub(now).max(Duration::from_millis(1)));
        }
        (turn.underway, turn.hurried, turn.asked) = (true, false, Some(now));
        self.last = Some(now);
        Next::Ask(name.clone())
    }

    /// A node has answered, or has not.
    pub fn done(&mut self, node: &str, answered: bool, now: Duration, dice: u32) {
        let Some(turn) = self.nodes.get_mut(node) else { return };
        turn.underway = false;
        if answered {
            (turn.failures, turn.not_before) = (0, Duration::ZERO);
        } else {
            turn.failures = turn.failures.saturating_add(1);
            turn.not_before = now + self.pace.backoff.pause(turn.failures, None, dice);
        }
    }
}

impl Turn {
    fn due(&self, pace: Pace) -> Duration {
        match self.asked {
            _ if self.hurried => self.not_before,
            None => self.not_before,
            Some(asked) => (asked + pace.each).max(self.not_before),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(it: u64) -> Duration {
        Duration::from_secs(it)
    }

    fn sweep(nodes: usize) -> Sweep {
        let backoff = Backoff { first: seconds(60), longest: seconds(600) };
        let mut sweep = Sweep::new(Pace { between: seconds(1), each: seconds(30), at_once: 2, backoff });
        sweep.nodes((0..nodes).map(|it| format!("n{it:03}").into()));
        sweep
    }

    /// Who is asked when, each answering at once.
    fn asked(sweep: &mut Sweep, until: u64, answers: impl Fn(&str) -> bool) -> Vec<(u64, String)> {
        let (mut now, mut asked) = (Duration::ZERO, Vec::new());
        while now < seconds(until) {
            match sweep.next(now) {
                Next::Ask(node) => {
                    asked.push((now.as_secs(), node.to_string()));
                    sweep.done(&node, answers(&node), now, u32::MAX);
                }
                Next::Wait(pause) => now += pause,
            }
        }
        asked
    }

    fn times(asked: &[(u64, String)], node: &str) -> Vec<u64> {
        asked.iter().filter(|(_, it)| it == node).map(|(at, _)| *at).collect()
    }

    #[test]
    fn few_nodes_are_asked_as_often_as_each_may_be() {
        let asked = asked(&mut sweep(2), 100, |_| true);
        assert_eq!((times(&asked, "n000"), times(&asked, "n001")), (vec![0, 30, 60, 90], vec![1, 31, 61, 91]));
    }

    #[test]
    fn many_nodes_take_turns_and_the_rate_is_kept() {
        let asked = asked(&mut sweep(500), 1000, |_| true);
        assert_eq!(asked.len(), 1000);
        assert!((0..500).all(|node| times(&asked, &format!("n{node:03}")) == [node, node + 500]));
    }

    #[test]
    fn a_node_that_does_not_answer_is_left_in_peace_for_longer_and_longer() {
        let asked = asked(&mut sweep(2), 500, |node| node != "n000");
        assert_eq!(times(&asked, "n000"), [0, 60, 180, 420]);
        assert_eq!(times(&asked, "n001").len(), 17);
    }

    #[test]
    fn who_is_hurried_goes_first_but_not_faster_than_the_rate() {
        let mut sweep = sweep(500);
        assert_eq!(sweep.next(Duration::ZERO), Next::Ask("n000".into()));
        sweep.done("n000", true, Duration::ZERO, 0);
        sweep.hurry("n000");
        sweep.hurry("nobody");
        assert_eq!(sweep.next(Duration::ZERO), Next::Wait(seconds(1)));
        assert_eq!(sweep.next(seconds(1)), Next::Ask("n000".into()));
    }

    #[test]
    fn not_too_many_questions_at_once_and_the_gone_are_forgotten() {
        let mut sweep = sweep(3);
        assert_eq!(sweep.next(seconds(0)), Next::Ask("n000".into()));
        assert_eq!(sweep.next(seconds(1)), Next::Ask("n001".into()));
        assert_eq!(sweep.next(seconds(2)), Next::Wait(IDLE));
        sweep.nodes(["n000".into()]);
        sweep.done("n001", true, seconds(2), 0);
        assert_eq!(sweep.next(seconds(2)), Next::Wait(IDLE), "the only node has not answered yet");
        sweep.nodes([]);
        assert!(!sweep.knows("n000"));
        assert_eq!(sweep.next(seconds(9)), Next::Wait(IDLE));
    }
}
