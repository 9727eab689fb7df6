//! Every state that a few candidates can get into: each may do its next thing or be asleep, each request and each answer may be
//! lost or take as long as it likes, programs die and others come, and clocks run at different speeds. In none of them two
//! act as leaders, and from each of them, once nothing more goes wrong, one does.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::candidate::{Candidate, Found, Seen, Step, Times};

/// Nobody; who died; and candidates from there on.
const NOBODY: u8 = 0;
const DEAD: u8 = 1;
const FIRST: u8 = 2;

/// Local clocks stand here: only differences count, so that moments are kept as ages.
const NOW: u64 = 1000;

#[derive(Clone, Copy)]
struct World {
    candidates: usize,
    lease: u8,
    deadline: u8,
    /// Candidate 0's clock misses one tick of so many; none: it runs as the others do.
    slow: Option<u8>,
    /// Programs may die.
    deaths: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct State {
    holder: u8,
    version: u8,
    /// Which tick it is, for the slow clock.
    phase: u8,
    candidates: Vec<One>,
    /// A write whose sender has given it up, and which may arrive all the same: the name, and over which version.
    late: Option<(u8, u8)>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct One {
    /// Holder, version, for how long.
    seen: Option<(u8, u8, u8)>,
    held: Option<u8>,
    request: Request,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Request {
    None,
    Read,
    WasRead {
        holder: u8,
        version: u8,
    },
    /// The name to write, over which version, and how long ago it was sent.
    Write {
        holder: u8,
        over: u8,
        sent: u8,
    },
    /// The version it made, if it was accepted.
    Written {
        holder: u8,
        version: Option<u8>,
        sent: u8,
    },
}

fn moment(age: u8) -> Duration {
    Duration::from_secs(NOW - u64::from(age))
}

fn age(moment: Duration) -> u8 {
    u8::try_from(NOW - moment.as_secs()).unwrap()
}

fn name(id: u8) -> Arc<str> {
    if id == NOBODY { "".into() } else { id.to_string().into() }
}

fn id(name: &str) -> u8 {
    if name.is_empty() { NOBODY } else { name.parse().unwrap() }
}

impl World {
    fn found(&self, holder: u8, version: u8) -> Found {
        let lease = Some(Duration::from_secs(u64::from(self.lease)));
        Found { holder: name(holder), lease, version: version.to_string().into() }
    }

    /// The real thing, made of what the state says.
    fn candidate(&self, number: usize, one: &One) -> Candidate {
        let times = Times {
            lease: Duration::from_secs(u64::from(self.lease)),
            renew_deadline: Duration::from_secs(u64::from(self.deadline)),
            retry: Duration::ZERO,
        };
        let mut candidate = Candidate::new(name(me(number)), times);
        candidate.seen =
            one.seen.map(|(holder, version, age)| Seen { found: self.found(holder, version), since: moment(age) });
        candidate.held = one.held.map(moment);
        candidate
    }

    fn keep(&self, one: &mut One, candidate: &Candidate) {
        let seen = |it: &Seen| (id(&it.found.holder), it.found.version.parse().unwrap(), age(it.since));
        one.seen = candidate.seen.as_ref().map(seen);
        one.held = candidate.held.map(age);
    }

    fn begin(&self) -> State {
        let one = One { seen: None, held: None, request: Request::None };
        State { holder: NOBODY, version: NEWEST, phase: 0, candidates: vec![one; self.candidates], late: None }
    }

    fn acts(&self, state: &State) -> usize {
        let acts = |(number, one): (usize, &One)| {
            let until = self.candidate(number, one).acts_until();
            until.is_some_and(|until| Duration::from_secs(NOW) < until)
        };
        state.candidates.iter().enumerate().filter(|it| acts(*it)).count()
    }

    fn tick(&self, state: &State) -> State {
        let mut next = state.clone();
        next.phase = self.slow.map_or(0, |every| (state.phase + 1) % every);
        for (number, one) in next.candidates.iter_mut().enumerate() {
            if number == 0 && self.slow.is_some() && next.phase == 0 {
                continue;
            }
            let most = self.lease + 1;
            let older = |age: &mut u8| *age = (*age + 1).min(most);
            one.seen.iter_mut().for_each(|(_, _, age)| older(age));
            one.held.iter_mut().for_each(older);
            if let Request::Write { sent, .. } | Request::Written { sent, .. } = &mut one.request {
                older(sent);
            }
        }
        next
    }

    /// What a candidate, or the server for it, does next, nothing being lost.
    fn go(&self, state: &State, number: usize) -> State {
        let mut next = state.clone();
        let mut candidate = self.candidate(number, &state.candidates[number]);
        let one = &mut next.candidates[number];
        let now = Duration::from_secs(NOW);
        let write = |over| Request::Write { holder: me(number), over, sent: 0 };
        match one.request {
            Request::None if one.held.is_none() => one.request = Request::Read,
            Request::None => match candidate.step(now) {
                Step::Renew => one.request = write(one.seen.map_or(0, |it| it.1)),
                Step::Lost => {
                    candidate.lose();
                    self.keep(one, &candidate);
                }
                Step::Claim | Step::Wait(_) => {}
            },
            Request::Read => one.request = Request::WasRead { holder: state.holder, version: state.version },
            Request::WasRead { holder, version } => {
                candidate.saw(Some(self.found(holder, version)), now);
                self.keep(one, &candidate);
                one.request = match candidate.step(now) {
                    Step::Claim | Step::Renew => write(version),
                    Step::Wait(_) => Request::None,
                    Step::Lost => {
                        candidate.lose();
                        self.keep(one, &candidate);
                        Request::None
                    }
                };
            }
            Request::Write { holder, over, sent } => {
                let accepted = over == state.version;
                if accepted {
                    (next.holder, next.version) = (holder, state.version + 1);
                }
                let version = accepted.then_some(state.version + 1);
                one.request = Request::Written { holder, version, sent };
            }
            Request::Written { holder, version, sent } => {
                if let Some(version) = version.filter(|_| holder != NOBODY) {
                    candidate.wrote(self.found(holder, version), moment(sent));
                }
                self.keep(one, &candidate);
                // Somebody else has written: what is so now is to be read.
                one.request = if version.is_none() { Request::Read } else { Request::None };
            }
        }
        next
    }

    fn next(&self, state: &State) -> Vec<State> {
        let mut all = vec![self.tick(state)];
        if let Some((holder, over)) = state.late {
            let (holder, version) =
                if over == state.version { (holder, over + 1) } else { (state.holder, state.version) };
            all.push(State { holder, version, late: None, ..state.clone() });
        }
        for number in 0..self.candidates {
            all.push(self.go(state, number));
            let mut other = |change: &dyn Fn(&mut State, &mut One)| {
                let mut next = state.clone();
                let mut one = next.candidates[number].clone();
                change(&mut next, &mut one);
                next.candidates[number] = one;
                all.push(next);
            };
            let one = &state.candidates[number];
            if one.request != Request::None {
                other(&|_, one| one.request = Request::None); // lost on its way there or back
            }
            if let (Request::Write { holder, over, .. }, None) = (one.request, state.late) {
                other(&|state, one| (one.request, state.late) = (Request::None, Some((holder, over))));
            }
            if let (Some(_), Request::None, Some((_, over, _))) = (one.held, one.request, one.seen) {
                other(&|_, one| {
                    one.held = None;
                    one.request = Request::Write { holder: NOBODY, over, sent: 0 };
                });
            }
            if self.deaths {
                // Another program in its place: with another name, which for the others makes the old one a dead one's.
                other(&|state, one| {
                    let dead = |id: &mut u8| *id = if *id == me(number) { DEAD } else { *id };
                    *one = One { seen: None, held: None, request: Request::None };
                    dead(&mut state.holder);
                    state.late.iter_mut().for_each(|(holder, _)| dead(holder));
                    for other in &mut state.candidates {
                        other.seen.iter_mut().for_each(|(holder, _, _)| dead(holder));
                        if let Request::WasRead { holder, .. } = &mut other.request {
                            dead(holder);
                        }
                    }
                });
            }
        }
        all.iter_mut().for_each(|it| reduce(self, it));
        all
    }

    /// Walk everywhere, or as far as so many things can happen; how many states there are.
    #[track_caller]
    fn check(&self, far: Option<u32>) -> usize {
        let mut known = HashSet::from([self.begin()]);
        let mut ahead = VecDeque::from([(0, self.begin())]);
        let mut good = HashSet::new();
        while let Some((steps, state)) = ahead.pop_front() {
            assert!(self.acts(&state) <= 1, "two lead at once: {state:#?}");
            self.somebody_leads_in_the_end(&state, &mut good);
            if far.is_some_and(|far| steps >= far) {
                continue;
            }
            for next in self.next(&state) {
                if known.insert(next.clone()) {
                    ahead.push_back((steps + 1, next));
                }
            }
        }
        known.len()
    }

    /// With nothing going wrong any more, everybody taking turns. States from which that is known are kept in `good`.
    #[track_caller]
    fn somebody_leads_in_the_end(&self, from: &State, good: &mut HashSet<State>) {
        let mut state = from.clone();
        let mut way = Vec::new();
        for _ in 0..=2 * u32::from(self.lease) + 2 {
            if self.acts(&state) == 1 || good.contains(&state) {
                good.extend(way);
                return;
            }
            way.push(state.clone());
            for number in 0..self.candidates {
                for _ in 0..5 {
                    if self.acts(&state) == 0 {
                        state = self.go(&state, number);
                        reduce(self, &mut state);
                    }
                }
            }
            if self.acts(&state) == 0 {
                state = self.tick(&state);
                reduce(self, &mut state);
            }
        }
        panic!("nobody leads: {from:#?}");
    }
}

fn me(number: usize) -> u8 {
    FIRST + u8::try_from(number).unwrap()
}

/// As few states as may be: what makes no difference any more is made equal.
fn reduce(world: &World, state: &mut State) {
    let newest = state.version;
    // Of versions it counts which is the newest, and whether what was read is what had been seen.
    let small = |version: u8, seen: Option<u8>| match version {
        it if it == newest => NEWEST,
        it if Some(it) == seen => OLD,
        _ => OTHER,
    };
    for (number, one) in state.candidates.iter_mut().enumerate() {
        let seen = one.seen.map(|it| it.1);
        if let Some((holder, version, age)) = &mut one.seen {
            *version = small(*version, seen);
            // A lease that is free, or our own, is claimed at any age.
            if *holder == NOBODY || *holder == me(number) {
                *age = 0;
            }
        }
        one.held = one.held.map(|age| age.min(world.deadline));
        one.request = match one.request {
            Request::WasRead { holder, version } => Request::WasRead { holder, version: small(version, seen) },
            // It will not be accepted, whenever it arrives.
            Request::Write { holder, over, .. } if over != newest => {
                Request::Written { holder, version: None, sent: 0 }
            }
            Request::Write { holder, sent, .. } => {
                Request::Write { holder, over: NEWEST, sent: sent.min(world.deadline) }
            }
            Request::Written { holder, version: None, .. } => Request::Written { holder, version: None, sent: 0 },
            Request::Written { holder, version: Some(version), sent } => {
                let version = Some(small(version, None));
                Request::Written { holder, version, sent: sent.min(world.deadline) }
            }
            other => other,
        };
    }
    state.late = state.late.filter(|(_, over)| *over == newest).map(|(holder, _)| (holder, NEWEST));
    state.version = NEWEST;
}

/// Versions: one that is not the newest, another one, the newest.
const OLD: u8 = 0;
const OTHER: u8 = 1;
const NEWEST: u8 = 2;

const WORLD: World = World { candidates: 2, lease: 3, deadline: 2, slow: None, deaths: true };

#[test]
fn two_candidates_that_die_and_lose_answers() {
    let states = WORLD.check(None);
    assert!(states > 1000, "only {states}");
}

#[test]
fn two_candidates_one_with_a_slow_clock() {
    // Three of its ticks are at most five of the others'.
    let states = World { lease: 5, deadline: 3, slow: Some(3), deaths: false, ..WORLD }.check(None);
    assert!(states > 1000, "only {states}");
}

#[test]
fn three_candidates_as_far_as_ten_things_can_happen() {
    let states = World { candidates: 3, lease: 2, deadline: 1, deaths: false, ..WORLD }.check(Some(10));
    assert!(states > 1000, "only {states}");
}

#[test]
#[should_panic(expected = "two lead at once")]
fn a_clock_that_is_too_slow_is_found_out() {
    World { lease: 3, deadline: 3, slow: Some(2), deaths: false, ..WORLD }.check(None);
}
