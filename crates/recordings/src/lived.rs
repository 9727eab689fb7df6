//! The closed loop over a whole recording: every policy has a world of its own, with nodes, kills and late work, so policies are
//! what threads share out here.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use supple_recommend::sample::Sample;
use supple_replay::closed::{Closed, Lived, NodeSize};
use supple_replay::workload::{Intervals, recorded};

use crate::Contender;
use crate::Progress;
use crate::names::Place;
use crate::row::InputError;
use crate::source::Recording;

/// Samples handed over at once, and how many such bundles may wait.
const BUNDLE: usize = 4096;
const WAITING: usize = 8;

/// What became of all workloads under one policy.
#[derive(Clone, Debug, Default)]
pub struct World {
    /// By lane of the recording; `None` for lanes without a sample.
    pub lanes: Vec<Option<Lived>>,
    /// How many nodes were needed.
    pub nodes: usize,
}

#[derive(Clone, Copy)]
struct Item {
    place: Place,
    sample: Sample,
}

/// Replays every policy on nodes of this size. The recording is sorted by time first where it is not.
pub fn replay(
    contenders: &[&dyn Contender],
    (warmup, jobs): (i64, usize),
    node: NodeSize,
    recording: &mut Recording<'_>,
    progress: &dyn Progress,
) -> Result<Vec<World>, InputError> {
    if !recording.known.by_time {
        progress.restart("sorting by time");
        recording.sort(progress)?;
    }
    progress.restart("closed loop");
    let order = recording.known.names.order();
    let mut players: Vec<Player<'_>> =
        contenders.iter().map(|contender| Player::new(*contender, node, warmup, &order)).collect();
    let share = players.len().div_ceil(jobs.max(1)).max(1);
    std::thread::scope(|scope| {
        let mut senders: Vec<SyncSender<Arc<Vec<Item>>>> = Vec::new();
        for players in players.chunks_mut(share) {
            let (sender, receiver): (_, Receiver<Arc<Vec<Item>>>) = sync_channel(WAITING);
            senders.push(sender);
            scope.spawn(move || {
                for bundle in receiver {
                    players.iter_mut().for_each(|player| bundle.iter().for_each(|item| player.put(item)));
                }
                players.iter_mut().for_each(Player::flush);
            });
        }
        // A worker ends when its sender is dropped and not before, so sending cannot fail.
        let send = |bundle: &mut Vec<Item>| {
            let full = Arc::new(std::mem::replace(bundle, Vec::with_capacity(BUNDLE)));
            senders.iter().for_each(|it| drop(it.send(Arc::clone(&full))));
        };
        let mut bundle = Vec::with_capacity(BUNDLE);
        recording.each(progress, |_, place, sample| {
            bundle.push(Item { place, sample: *sample });
            if bundle.len() == BUNDLE {
                send(&mut bundle);
            }
        })?;
        send(&mut bundle);
        Ok(())
    })?;
    Ok(players.iter().map(Player::world).collect())
}

/// One policy at play.
struct Player<'a> {
    contender: &'a dyn Contender,
    closed: Closed,
    warmup: i64,
    /// Of every series its place among all, sorted by name.
    order: &'a [u32],
    /// By lane of the recording: the lane of the loop, and the time of its first sample.
    lanes: Vec<Option<(usize, i64)>>,
    /// By series: the pod of the loop.
    pods: Vec<Option<(usize, Intervals)>>,
    /// Samples of the latest time: they are played in the order of names.
    waiting: Vec<Item>,
}

impl<'a> Player<'a> {
    fn new(contender: &'a dyn Contender, node: NodeSize, warmup: i64, order: &'a [u32]) -> Self {
        let closed = Closed::new(node);
        Self { contender, closed, warmup, order, lanes: Vec::new(), pods: Vec::new(), waiting: Vec::new() }
    }

    fn put(&mut self, item: &Item) {
        if self.waiting.first().is_some_and(|first| first.sample.time != item.sample.time) {
            self.flush();
        }
        self.waiting.push(*item);
    }

    fn flush(&mut self) {
        let mut waiting = std::mem::take(&mut self.waiting);
        waiting.sort_by_key(|it| self.order.get(it.place.series));
        waiting.iter().for_each(|item| self.play(item));
        waiting.clear();
        self.waiting = waiting;
    }

    fn play(&mut self, Item { place, sample }: &Item) {
        if self.lanes.len() <= place.lane {
            self.lanes.resize(place.lane + 1, None);
        }
        if self.pods.len() <= place.series {
            self.pods.resize(place.series + 1, None);
        }
        let (lane, first) = *self.lanes[place.lane].get_or_insert_with(|| {
            let (strategy, decide) = self.contender.make();
            (self.closed.lane(strategy, decide), sample.time)
        });
        let (pod, intervals) =
            self.pods[place.series].get_or_insert_with(|| (self.closed.pod(lane), Intervals::default()));
        if let Some(hours) = intervals.next(sample.time, recorded(sample)) {
            self.closed.put(*pod, sample, hours, sample.time - first >= self.warmup);
        }
    }

    fn world(&self) -> World {
        let lived: Vec<&Lived> = self.closed.lived().collect();
        let lanes = self.lanes.iter().map(|it| it.and_then(|(lane, _)| lived.get(lane).map(|it| **it))).collect();
        World { lanes, nodes: self.closed.nodes() }
    }
}
