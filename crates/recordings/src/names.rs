//! The series of a recording, numbered: a lane is a workload's container, and has pods.
//!
//! Forty million rows name their series each time, so a name is looked up by a guess: series come one after another, or
//! in the same order again and again. Either way what followed this one last time is what follows it now.

use std::collections::HashMap;

use crate::row::Series;

/// Where a row belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Number of the series, in the order in which they were first seen.
    pub series: usize,
    /// Number of the lane, likewise.
    pub lane: usize,
    /// Number of the pod within its lane, likewise.
    pub pod: u32,
}

/// All series seen so far.
#[derive(Debug, Default)]
pub struct Names {
    keys: Vec<Key>,
    by_text: HashMap<Vec<u8>, usize>,
    lanes_by_name: HashMap<(String, String, String), usize>,
    lanes: Vec<LaneName>,
    guess: usize,
    last: usize,
}

#[derive(Debug)]
struct Key {
    /// As it stands in a row, with the comma that ends it.
    text: Vec<u8>,
    place: Place,
    /// What came after it last time.
    next: usize,
    /// Time of its last row.
    time: Option<i64>,
}

/// A workload's container.
#[derive(Debug)]
pub struct LaneName {
    /// Namespace, workload, container; `pod` is empty.
    pub name: Series,
    /// Its pods by number.
    pub pods: Vec<String>,
    time: Option<i64>,
}

/// How a row's time stands to those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// After all rows of its workload so far.
    Straight,
    /// Before a row of another pod of its workload.
    LaneTurnedBack,
    /// Not after the last row of the same series.
    Late,
}

impl Names {
    /// The series that the rest of a row (after the time) begins with, and how many bytes that takes, the comma included.
    pub fn find(&mut self, rest: &[u8]) -> Result<(Place, usize), String> {
        if let Some(found) = self.guessed(rest) {
            self.follow();
            return Ok(found);
        }
        let length = rest.iter().enumerate().filter(|(_, byte)| **byte == b',').nth(3).map(|(at, _)| at + 1);
        let text = &rest[..length.ok_or("there are too few values")?];
        let at = match self.by_text.get(text) {
            Some(at) => *at,
            None => self.first_sight(text)?,
        };
        if let Some(before) = self.keys.get_mut(self.last) {
            before.next = at;
        }
        let key = &self.keys[at];
        (self.last, self.guess) = (at, key.next);
        Ok((key.place, text.len()))
    }

    /// The same where it is the series that was guessed. [`Names::follow`] takes the guess for true.
    pub fn guessed(&self, rest: &[u8]) -> Option<(Place, usize)> {
        let key = self.keys.get(self.guess).filter(|it| rest.starts_with(&it.text))?;
        Some((key.place, key.text.len()))
    }

    /// The guess was right: what followed it last time is the next one.
    pub fn follow(&mut self) {
        if let Some(key) = self.keys.get(self.guess) {
            (self.last, self.guess) = (self.guess, key.next);
        }
    }

    fn first_sight(&mut self, text: &[u8]) -> Result<usize, String> {
        let told = std::str::from_utf8(text).map_err(|_| "it is not UTF-8".to_owned())?;
        if told.contains('"') {
            return Err("quoted values are not understood; names have no commas".to_owned());
        }
        let mut parts = told.split(',').map(str::to_owned);
        let mut part = || parts.next().unwrap_or_default();
        let series = Series { namespace: part(), workload: part(), pod: part(), container: part() };
        Ok(self.add(text.to_vec(), series))
    }

    fn add(&mut self, text: Vec<u8>, series: Series) -> usize {
        let key = (series.namespace.clone(), series.workload.clone(), series.container.clone());
        let next = self.lanes.len();
        let lane = *self.lanes_by_name.entry(key).or_insert(next);
        if lane == next {
            let name = Series { pod: String::new(), ..series.clone() };
            self.lanes.push(LaneName { name, pods: Vec::new(), time: None });
        }
        let pods = &mut self.lanes[lane].pods;
        let pod = u32::try_from(pods.len()).unwrap_or(u32::MAX);
        pods.push(series.pod);
        let at = self.keys.len();
        let place = Place { series: at, lane, pod };
        self.by_text.insert(text.clone(), at);
        self.keys.push(Key { text, place, next: at, time: None });
        at
    }

    /// The place of a series that was not read from a row.
    pub fn place(&mut self, series: &Series) -> Place {
        let text =
            format!("{},{},{},{},", series.namespace, series.workload, series.pod, series.container).into_bytes();
        let at = match self.by_text.get(&text) {
            Some(at) => *at,
            None => self.add(text, series.clone()),
        };
        self.keys[at].place
    }

    /// Notes a row's time.
    pub fn note(&mut self, place: Place, time: i64) -> Order {
        let key = &mut self.keys[place.series];
        if key.time.is_some_and(|last| time <= last) {
            return Order::Late;
        }
        key.time = Some(time);
        let lane = &mut self.lanes[place.lane];
        if lane.time.is_some_and(|last| time < last) {
            return Order::LaneTurnedBack;
        }
        lane.time = Some(time);
        Order::Straight
    }

    /// Another reading begins: no time was seen yet.
    pub fn rewind(&mut self) {
        self.keys.iter_mut().for_each(|it| it.time = None);
        self.lanes.iter_mut().for_each(|it| it.time = None);
    }

    /// The name of a pod.
    pub fn pod(&self, place: Place) -> &str {
        let pods = self.lanes.get(place.lane).map_or(&[][..], |it| &it.pods);
        usize::try_from(place.pod).ok().and_then(|pod| pods.get(pod)).map_or("", String::as_str)
    }

    /// The lanes by number.
    pub fn lanes(&self) -> &[LaneName] {
        &self.lanes
    }

    /// Of every series its place among the series sorted by workload and pod.
    pub fn order(&self) -> Vec<u32> {
        let ranks = self.ranks();
        let mut series: Vec<usize> = (0..self.keys.len()).collect();
        let key = |at: &usize| {
            let place = self.keys[*at].place;
            (ranks[place.lane], self.pod(place))
        };
        series.sort_by(|a, b| key(a).cmp(&key(b)));
        let mut order = vec![0; series.len()];
        for (rank, at) in (0..).zip(series) {
            order[at] = rank;
        }
        order
    }

    /// Of every lane its place among the lanes sorted by name.
    pub fn ranks(&self) -> Vec<u32> {
        let mut order: Vec<usize> = (0..self.lanes.len()).collect();
        order.sort_by(|a, b| self.lanes[*a].name.cmp(&self.lanes[*b].name));
        let mut ranks = vec![0; order.len()];
        for (rank, lane) in (0..).zip(order) {
            ranks[lane] = rank;
        }
        ranks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_is_found_by_guess_or_by_name_alike() {
        let mut names = Names::default();
        let rows = ["a,w,p1,c,1", "a,w,p2,c,1", "b,w,p1,c,1"];
        let first: Vec<_> = rows.iter().map(|row| names.find(row.as_bytes()).unwrap()).collect();
        assert_eq!(
            first.iter().map(|it| (it.0.lane, it.0.pod, it.1)).collect::<Vec<_>>(),
            [(0, 0, 9), (0, 1, 9), (1, 0, 9)]
        );
        for order in [[0, 1, 2], [0, 1, 2], [2, 1, 0], [0, 0, 0]] {
            for row in order {
                assert_eq!(names.find(rows[row].as_bytes()).unwrap(), first[row], "{order:?}");
            }
        }
        assert!(names.find(b"a,b,c").is_err());
        assert!(names.find(b"\xff,b,c,d,").is_err());
        assert_eq!(names.lanes().len(), 2);
    }

    #[test]
    fn the_order_of_rows_is_told() {
        let mut names = Names::default();
        let mut row = |text: &str, time| {
            let (place, _) = names.find(text.as_bytes()).unwrap();
            names.note(place, time)
        };
        assert_eq!(row("a,w,p1,c,", 60), Order::Straight);
        assert_eq!(row("a,w,p2,c,", 60), Order::Straight);
        assert_eq!(row("a,w,p1,c,", 120), Order::Straight);
        assert_eq!(row("a,w,p1,c,", 120), Order::Late);
        assert_eq!(row("a,w,p2,c,", 90), Order::LaneTurnedBack);
    }
}
