//! Every change of a size, kept outside of memory until it is known who is to be told: for `--emit` and for drawings.

use std::borrow::Cow;
use std::io::{self, Write};

use supple_quantity::{Bytes, MilliCpu};
use supple_recommend::sample::Size;
use supple_replay::workload::Change;

use crate::Contender;
use crate::names::Names;
use crate::spill::{Log, Record, Sorter, word};

/// A change of a lane's pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Changed {
    /// Number of the lane.
    pub lane: usize,
    /// What changed; the pod numbered as in the recording.
    pub change: Change,
}

/// All changes, as the workers noted them.
#[derive(Default)]
pub struct Changes {
    /// One a worker.
    pub(crate) logs: Vec<Log<Changed>>,
}

/// What is not set.
const NOTHING: u64 = u64::MAX;

impl Record for Changed {
    const SIZE: usize = 8 * 7;
    type Key = (usize, usize, i64, u32);

    /// By policy, workload, time and pod: the order of the rows that are told.
    fn key(&self) -> Self::Key {
        (self.change.strategy, self.lane, self.change.time, self.change.pod)
    }

    fn write(&self, out: &mut Vec<u8>) {
        let Change { strategy, pod, time, size } = self.change;
        let words = [
            self.lane as u64,
            strategy as u64 | u64::from(pod) << 32,
            time.cast_unsigned(),
            size.cpu_request.map_or(NOTHING, |it| it.0.cast_unsigned()),
            size.cpu_limit.map_or(NOTHING, |it| it.0.cast_unsigned()),
            size.memory_request.map_or(NOTHING, |it| it.0.cast_unsigned()),
            size.memory_limit.map_or(NOTHING, |it| it.0.cast_unsigned()),
        ];
        words.iter().for_each(|word| out.extend(word.to_le_bytes()));
    }

    fn read(bytes: &[u8]) -> Self {
        let index = |word: u64| usize::try_from(word).unwrap_or(usize::MAX);
        let some = |at| Some(word(bytes, at).cast_signed()).filter(|it| it.cast_unsigned() != NOTHING);
        let both = word(bytes, 1);
        let size = Size {
            cpu_request: some(3).map(MilliCpu),
            cpu_limit: some(4).map(MilliCpu),
            memory_request: some(5).map(Bytes),
            memory_limit: some(6).map(Bytes),
        };
        let change = Change {
            strategy: index(both & u64::from(u32::MAX)),
            pod: u32::try_from(both >> 32).unwrap_or(u32::MAX),
            time: word(bytes, 2).cast_signed(),
            size,
        };
        Self { lane: index(word(bytes, 0)), change }
    }
}

impl Changes {
    /// Every size in force as CSV, a row a change: sorted by policy, workload, time and pod, whoever noted it. A row holds from
    /// its time until the next row of the same policy and pod. The bound comes last.
    pub fn emit(&mut self, contenders: &[&dyn Contender], names: &Names, out: &mut dyn Write) -> io::Result<()> {
        let ranks = names.ranks();
        let mut lane_at = vec![0; ranks.len()];
        for (lane, rank) in ranks.iter().enumerate() {
            lane_at[index(*rank)] = lane;
        }
        // Numbers depend on the order in which rows were recorded, places in sorted lists of names do not.
        let sorted_pods: Vec<Vec<u32>> = names.lanes().iter().map(|it| by_name(&it.pods)).collect();
        let places: Vec<Vec<u32>> = sorted_pods.iter().map(|it| inverse(it)).collect();
        let mut sorter = Sorter::default();
        for log in &mut self.logs {
            log.each(|it: Changed| {
                let (Some(rank), Some(places)) = (ranks.get(it.lane), places.get(it.lane)) else { return Ok(()) };
                let pod = places.get(index(it.change.pod)).copied().unwrap_or_default();
                sorter.put(Changed { lane: index(*rank), change: Change { pod, ..it.change } })
            })?;
        }
        out.write_all(
            b"policy,namespace,workload,pod,container,time,cpu_request,cpu_limit,memory_request,memory_limit\n",
        )?;
        let mut sorted = sorter.finish()?;
        let mut all = sorted.iter()?;
        while let Some(Changed { lane, change }) = all.next()? {
            let lane = lane_at[lane];
            let (named, pods) = (&names.lanes()[lane], &sorted_pods[lane]);
            let pod =
                pods.get(index(change.pod)).and_then(|pod| named.pods.get(index(*pod))).map_or("", String::as_str);
            let pod = field(pod);
            let policy = field(contenders.get(change.strategy).map_or("bound", |it| it.name()));
            let [cpu_request, cpu_limit, memory_request, memory_limit] = written(&change.size);
            let name = &named.name;
            writeln!(
                out,
                "{policy},{},{},{pod},{},{},{cpu_request},{cpu_limit},{memory_request},{memory_limit}",
                field(&name.namespace),
                field(&name.workload),
                field(&name.container),
                change.time,
            )?;
        }
        out.flush()
    }
}

/// A value of a line of comma separated values, in quotes where it must be (RFC 4180).
pub fn field(text: &str) -> Cow<'_, str> {
    if text.contains([',', '"', '\n', '\r']) {
        Cow::Owned(format!("\"{}\"", text.replace('"', "\"\"")))
    } else {
        Cow::Borrowed(text)
    }
}

/// The numbers of names in the order of the names.
fn by_name(names: &[String]) -> Vec<u32> {
    let mut order: Vec<u32> = (0..).take(names.len()).collect();
    order.sort_by(|a, b| names[index(*a)].cmp(&names[index(*b)]));
    order
}

fn inverse(order: &[u32]) -> Vec<u32> {
    let mut places = vec![0; order.len()];
    for (place, number) in (0..).zip(order) {
        places[index(*number)] = place;
    }
    places
}

fn index(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// A size as the four values of a row: cores and bytes, empty where not set.
fn written(size: &Size) -> [String; 4] {
    let cores = |it: Option<MilliCpu>| it.map_or_else(String::new, |it| format!("{}.{:03}", it.0 / 1000, it.0 % 1000));
    let bytes = |it: Option<Bytes>| it.map_or_else(String::new, |it| it.0.to_string());
    [cores(size.cpu_request), cores(size.cpu_limit), bytes(size.memory_request), bytes(size.memory_limit)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_quoted_where_they_must_be() {
        assert_eq!(field("web-1"), "web-1");
        assert_eq!(field("a,b"), "\"a,b\"");
        assert_eq!(field("say \"a\""), "\"say \"\"a\"\"\"");
        assert_eq!(field("a\nb"), "\"a\nb\"");
    }

    #[test]
    fn a_change_is_read_as_it_was_written() {
        let size = Size { cpu_request: Some(MilliCpu(250)), memory_limit: Some(Bytes(1 << 40)), ..Size::default() };
        let changed = Changed { lane: 7, change: Change { strategy: 3, pod: 9, time: -5, size } };
        let mut bytes = Vec::new();
        changed.write(&mut bytes);
        assert_eq!((bytes.len(), Changed::read(&bytes)), (Changed::SIZE, changed));
        assert_eq!(written(&size), ["0.250", "", "", "1099511627776"].map(str::to_owned));
    }
}
