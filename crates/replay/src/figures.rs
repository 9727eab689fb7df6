//! What a size in force came to: slack, time over, events, resizes; and the one cost that sums them up.

use serde::Serialize;

/// The prices of the one cost **J**, in hours of the container's mean use.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Prices {
    /// Of an event. Memory: a kill, which is a run of samples over. CPU: every sample over.
    pub event: f64,
    /// Of a resize.
    pub resize: f64,
    /// Whether every sample over counts (CPU), or every run of them (memory).
    pub per_sample: bool,
}

impl Prices {
    /// CPU: an hour of mean use a sample over and a resize.
    pub const CPU: Self = Self { event: 1.0, resize: 1.0, per_sample: true };
    /// Memory: a day of mean use a kill, an hour a resize.
    pub const MEMORY: Self = Self { event: 24.0, resize: 1.0, per_sample: false };
}

/// Tallies of one resource. Amounts are thousandths of a core or bytes, times hours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Figures {
    /// Samples judged.
    pub samples: u64,
    /// Hours judged.
    pub hours: f64,
    /// Size in force, summed over time.
    pub reserved: f64,
    /// Use, summed over time.
    pub used: f64,
    /// Size in force above use, summed over time.
    pub slack: f64,
    /// Samples over.
    pub over: u64,
    /// Runs of samples over.
    pub events: u64,
    /// Changes of the size in force.
    pub resizes: u64,
    /// Of these, such as restarted the container.
    pub restarts: u64,
    /// Changes the node put off: some of them came to pass later. Only a closed loop has a node.
    pub deferred: u64,
    /// Changes the API or the node would never do. Only a closed loop has them.
    pub infeasible: u64,
    /// Samples whose use was cut by the recorded limit, so that nobody knows what was wanted.
    pub censored: u64,
    /// Lowest and highest size in force.
    pub range: Option<(i64, i64)>,
    /// The last sample was over.
    #[serde(skip)]
    pub in_event: bool,
}

impl Figures {
    /// Judges a sample of `used` at a size in force, standing for so many hours.
    pub fn judge(&mut self, used: f64, size: i64, hours: f64) {
        let size_now = supple_recommend::sample::amount(size);
        self.samples += 1;
        self.hours += hours;
        self.reserved += size_now * hours;
        self.used += used * hours;
        self.slack += (size_now - used).max(0.0) * hours;
        let over = used > size_now;
        self.over += u64::from(over);
        self.events += u64::from(over && !self.in_event);
        self.in_event = over;
        let (low, high) = self.range.unwrap_or((size, size));
        self.range = Some((low.min(size), high.max(size)));
    }

    /// Adds another container's.
    pub fn add(&mut self, other: &Self) {
        let Self {
            samples,
            hours,
            reserved,
            used,
            slack,
            over,
            events,
            resizes,
            restarts,
            deferred,
            infeasible,
            censored,
            range,
            in_event: _,
        } = other;
        self.samples += samples;
        self.hours += hours;
        self.reserved += reserved;
        self.used += used;
        self.slack += slack;
        self.over += over;
        self.events += events;
        self.resizes += resizes;
        self.restarts += restarts;
        self.deferred += deferred;
        self.infeasible += infeasible;
        self.censored += censored;
        self.range = match (self.range, range) {
            (Some(a), Some(b)) => Some((a.0.min(b.0), a.1.max(b.1))),
            (a, b) => a.or(*b),
        };
    }

    /// Reserved by used; `None` where nothing was used, whatever was reserved.
    pub fn footprint(&self) -> Option<f64> {
        (self.samples > 0 && self.used > 0.0).then(|| self.reserved / self.used)
    }

    /// Share of samples over.
    pub fn over_ratio(&self) -> f64 {
        ratio(count(self.over), count(self.samples))
    }

    /// Events a day.
    pub fn events_per_day(&self) -> f64 {
        self.per_day(self.events)
    }

    /// Resizes a day.
    pub fn resizes_per_day(&self) -> f64 {
        self.per_day(self.resizes)
    }

    /// So many, a day.
    pub fn per_day(&self, number: u64) -> f64 {
        ratio(count(number) * 24.0, self.hours)
    }

    /// **J**: hours of mean use lost in an hour. `least` is the least size there is: a container that uses less than it
    /// is measured by it, or idle machines would drown everything.
    pub fn cost(&self, prices: &Prices, least: f64) -> Option<f64> {
        if self.hours <= 0.0 {
            return None;
        }
        let mean = (self.used / self.hours).max(least);
        let events = if prices.per_sample { self.over } else { self.events };
        Some((self.slack / mean + prices.event * count(events) + prices.resize * count(self.resizes)) / self.hours)
    }
}

/// A count as a number to reckon with.
pub fn count(value: u64) -> f64 {
    value as f64
}

fn ratio(a: f64, b: f64) -> f64 {
    if b > 0.0 { a / b } else { 0.0 }
}
