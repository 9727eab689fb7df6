//! What the controller tells of itself: a registry as a value, passed to whoever has something to count, and rendered when
//! it is asked for. Nothing in it is global.
//!
//! Counters and histograms are counted as things happen. What is known of workloads is not counted but shown: each round
//! puts up a [`Picture`] in place of the one before, so that what is gone is gone.

pub mod calls;
mod picture;
pub mod table;
mod text;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use supple_decide::code::Code;

pub use self::picture::{ContainerPicture, Pending, PendingPods, Picture, Resizing, Savings};
use self::table::{Kind, Metric};
pub use self::text::CONTENT_TYPE;
use self::text::{Text, count};
use crate::source::Source;
use crate::source::incident::Incident;

/// How a resize ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ended {
    /// The pod runs with the new sizes.
    Resized,
    /// The API server refused it.
    Refused,
    /// The node cannot do it.
    Infeasible,
    /// The node had no room for too long.
    GivenUp,
    /// The node tried and failed, or nobody answered.
    Failed,
    /// The pod came to harm and has its former sizes back.
    RolledBack,
}

impl Ended {
    /// Each with the codes that it is counted under.
    const ALL: [(Self, &[Code]); 6] = [
        (Self::Resized, &[Code::Resized]),
        (Self::Refused, &[Code::Refused]),
        (Self::Infeasible, &[Code::Infeasible]),
        (Self::GivenUp, &[Code::GivenUp]),
        (Self::Failed, &[Code::NodeFailing, Code::NoAnswer]),
        (Self::RolledBack, HARMS),
    ];

    /// As the label has it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Resized => "resized",
            Self::Refused => "refused",
            Self::Infeasible => "infeasible",
            Self::GivenUp => "given-up",
            Self::Failed => "failed",
            Self::RolledBack => "rolled-back",
        }
    }
}

/// Why a resize is rolled back; under the code of the roll-back itself where the record does not tell.
const HARMS: &[Code] =
    &[Code::OutOfMemory, Code::Restarted, Code::NotReady, Code::GuardCrossed, Code::Throttled, Code::RollBack];

/// The label values of a counter that are shown before anything has happened, as 0. Prometheus sees an increase between two
/// samples of a series, so without them the first event after every start would be in no alert.
fn from_the_start(metric: Metric) -> Vec<Vec<&'static str>> {
    match metric {
        Metric::Resizes => {
            let each =
                Ended::ALL.iter().flat_map(|(how, codes)| codes.iter().map(|it| vec![how.as_str(), it.as_str()]));
            each.collect()
        }
        Metric::Rollbacks => HARMS.iter().map(|it| vec![it.as_str()]).collect(),
        Metric::Evictions => [Code::Evict, Code::RollOut].map(|it| vec![it.as_str()]).to_vec(),
        Metric::Incidents => Incident::WORDS.map(|it| vec![it]).to_vec(),
        // Where there is nothing to tell apart, nothing yet is a number too.
        _ if metric.row().labels.is_empty() => vec![Vec::new()],
        _ => Vec::new(),
    }
}

/// Upper bounds of the buckets of short times, in seconds.
const SHORT: &[f64] = &[0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Upper bounds of the buckets of how long a resize takes, in seconds.
const LONG: &[f64] = &[0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 1800.0, 3600.0];

const fn bounds(metric: Metric) -> &'static [f64] {
    match metric {
        Metric::ResizeDuration => LONG,
        _ => SHORT,
    }
}

/// The registry. Cheap to clone; all clones are the same one.
#[derive(Clone, Debug, Default)]
pub struct Metrics(Arc<Mutex<Counts>>);

#[derive(Debug, Default)]
struct Counts {
    counters: BTreeMap<(Metric, Vec<String>), u64>,
    gauges: BTreeMap<(Metric, Vec<String>), f64>,
    histograms: BTreeMap<(Metric, Vec<String>), Histogram>,
    picture: Picture,
}

#[derive(Debug, Default)]
struct Histogram {
    /// One more than there are bounds: what is beyond all of them.
    buckets: Vec<u64>,
    nanos: u128,
}

impl Metrics {
    fn counts(&self) -> MutexGuard<'_, Counts> {
        // Every change is whole in itself: a panic elsewhere cannot leave one half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, metric: Metric, labels: &[&str], number: u64) {
        let labels = labels.iter().map(|it| (*it).to_owned()).collect();
        let mut counts = self.counts();
        let value = counts.counters.entry((metric, labels)).or_default();
        *value = value.saturating_add(number);
    }

    fn set(&self, metric: Metric, labels: &[&str], value: f64) {
        let labels = labels.iter().map(|it| (*it).to_owned()).collect();
        self.counts().gauges.insert((metric, labels), value);
    }

    fn took(&self, metric: Metric, labels: &[&str], time: Duration) {
        let bounds = bounds(metric);
        let labels = labels.iter().map(|it| (*it).to_owned()).collect();
        let mut counts = self.counts();
        let histogram = counts.histograms.entry((metric, labels)).or_default();
        histogram.buckets.resize(bounds.len() + 1, 0);
        let bucket = bounds.iter().position(|it| time.as_secs_f64() <= *it).unwrap_or(bounds.len());
        histogram.buckets[bucket] += 1;
        histogram.nanos = histogram.nanos.saturating_add(time.as_nanos());
    }

    /// A resize has ended, this long after it was asked for.
    pub fn resize_ended(&self, how: Ended, reason: Code, after: Duration) {
        self.add(Metric::Resizes, &[how.as_str(), reason.as_str()], 1);
        self.took(Metric::ResizeDuration, &[how.as_str()], after);
        if how == Ended::RolledBack {
            self.add(Metric::Rollbacks, &[reason.as_str()], 1);
        }
    }

    /// Nobody answered a resize, or the server failed: whether it was made is not known, and it is tried again.
    pub fn resize_unanswered(&self) {
        self.add(Metric::Resizes, &[Ended::Failed.as_str(), Code::NoAnswer.as_str()], 1);
    }

    /// What could not wait has been raised, this long after it was known.
    pub fn raised(&self, after: Duration) {
        self.took(Metric::RaiseDuration, &[], after);
    }

    /// A pod was evicted, or its workload restarted.
    pub fn evicted(&self, reason: Code) {
        self.add(Metric::Evictions, &[reason.as_str()], 1);
    }

    /// Something befell a watched pod.
    pub fn incident(&self, incident: Incident) {
        let (word, times) = incident.counted();
        self.add(Metric::Incidents, &[word], u64::from(times));
    }

    /// A source is read from now on: one that never tells anything is as old as that.
    pub fn source_begins(&self, source: Source, at: Timestamp) {
        self.source_newest(source, at);
        self.source_told(source, 0);
        self.add(Metric::SourceFailures, &[source.as_str()], 0); // so that the first failure is seen to be one more than none
    }

    /// A source has told something.
    pub fn source_told(&self, source: Source, readings: usize) {
        self.add(Metric::SourceReadings, &[source.as_str()], u64::try_from(readings).unwrap_or(u64::MAX));
    }

    /// A source was asked and told nothing.
    pub fn source_failed(&self, source: Source) {
        self.add(Metric::SourceFailures, &[source.as_str()], 1);
    }

    /// The newest measurement of a source; or when there was nothing to measure.
    pub fn source_newest(&self, source: Source, at: Timestamp) {
        self.set(Metric::SourceNewest, &[source.as_str()], moment(at));
    }

    /// The history file has been written, or is to be written from now on.
    pub fn history_kept(&self, at: Timestamp) {
        self.set(Metric::HistoryKept, &[], moment(at));
    }

    /// A round is over.
    pub fn round(&self, time: Duration) {
        self.took(Metric::RoundDuration, &[], time);
    }

    /// A request to the API server was answered with this status (0: not at all).
    pub fn api_request(&self, verb: &str, resource: &str, status: u16) {
        self.add(Metric::ApiRequests, &[verb, resource, &status.to_string()], 1);
    }

    /// An admission review was answered.
    pub fn reviewed(&self, review: &str, result: &str, time: Duration) {
        self.add(Metric::WebhookReviews, &[review, result], 1);
        self.took(Metric::WebhookDuration, &[review], time);
    }

    /// When the webhook's certificate runs out.
    pub fn certificate(&self, until: Timestamp) {
        self.set(Metric::CertificateExpiry, &[], moment(until));
    }

    /// Whether this replica leads.
    pub fn leads(&self, leads: bool) {
        let now = if leads { 1.0 } else { 0.0 };
        let before = self.counts().gauges.insert((Metric::Leader, Vec::new()), now);
        if before.unwrap_or(0.0) != now {
            self.add(Metric::LeaderChanges, &[], 1);
        }
    }

    /// Whether the switch that stops everything is pulled.
    pub fn stopped(&self, stopped: bool) {
        self.set(Metric::Stopped, &[], if stopped { 1.0 } else { 0.0 });
    }

    /// What is known of workloads now, in place of what was.
    pub fn show(&self, picture: Picture) {
        let before = std::mem::replace(&mut self.counts().picture, picture);
        drop(before); // thousands of rows, freed with the lock free
    }

    /// As Prometheus reads it.
    #[must_use]
    pub fn render(&self, now: Timestamp) -> String {
        self.families(now).collect()
    }

    /// As Prometheus reads it, one metric after the other: of a large cluster all of them together are megabytes.
    pub fn families(&self, now: Timestamp) -> impl Iterator<Item = String> + use<> {
        let metrics = self.clone();
        let families = Metric::ALL.iter().map(move |metric| metrics.family(*metric, now));
        families.filter(|it| !it.is_empty())
    }

    /// One metric.
    fn family(&self, metric: Metric, now: Timestamp) -> String {
        let counts = self.counts();
        let row = metric.row();
        let own = |(it, _): &(Metric, Vec<String>)| *it == metric;
        let mut text = Text::default();
        let mut family = text.family(&row);
        match row.kind {
            Kind::Counter => {
                for ((_, labels), value) in counts.counters.iter().filter(|(it, _)| own(it)) {
                    family.sample(labels, count(*value));
                }
                for labels in from_the_start(metric) {
                    if !counts.counters.keys().any(|it| it.0 == metric && it.1 == labels) {
                        family.sample(&labels, 0.0);
                    }
                }
            }
            Kind::Gauge => {
                for ((_, labels), value) in counts.gauges.iter().filter(|(it, _)| own(it)) {
                    family.sample(labels, *value);
                }
                counts.picture.render(metric, now, &mut family);
                if metric == Metric::BuildInfo {
                    family.sample(&[env!("CARGO_PKG_VERSION").to_owned()], 1.0);
                }
            }
            Kind::Histogram => {
                let mut told = counts.histograms.iter().filter(|(it, _)| own(it)).peekable();
                // What has happened to nobody yet is a number too: a loop that has never ended a round is to be seen.
                if row.labels.is_empty() && told.peek().is_none() {
                    family.histogram(&[], bounds(metric), &vec![0; bounds(metric).len() + 1], 0);
                }
                for ((_, labels), it) in told {
                    family.histogram(labels, bounds(metric), &it.buckets, it.nanos);
                }
            }
        }
        text.finish()
    }
}

/// Seconds since 1970.
fn moment(at: Timestamp) -> f64 {
    let seconds = u64::try_from(at.as_millisecond()).unwrap_or(0);
    count(seconds) / 1000.0
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::source::exposition::samples;

    #[test]
    fn names_say_their_units_and_are_unique() {
        let names: BTreeSet<&str> = Metric::ALL.iter().map(|it| it.row().name).collect();
        assert_eq!(names.len(), Metric::ALL.len());
        for metric in Metric::ALL {
            let table::Row { name, kind, labels, meaning } = metric.row();
            let ours = name.starts_with("supple_") || name == "kube_pod_status_resize";
            assert!(ours && meaning.ends_with('.') && !meaning.contains('|'), "{name}");
            assert_eq!(kind == Kind::Counter, name.ends_with("_total"), "{name}");
            assert_eq!(kind == Kind::Histogram, name.ends_with("_duration_seconds"), "{name}");
            assert!(!labels.contains(&"pod") || name == "kube_pod_status_resize", "{name}");
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[track_caller]
    fn check(text: &str, line: &str) {
        assert!(text.lines().any(|it| it == line), "{line:?} is not in\n{text}");
    }

    #[test]
    fn what_happens_is_counted() {
        let metrics = Metrics::default();
        metrics.resize_ended(Ended::Resized, Code::Resized, Duration::from_millis(700));
        metrics.resize_ended(Ended::RolledBack, Code::OutOfMemory, Duration::from_hours(2));
        metrics.raised(Duration::from_millis(20));
        metrics.leads(true);
        metrics.leads(true);
        metrics.reviewed("resize", "refused", Duration::from_millis(2));
        metrics.api_request("patch", "pods/resize", 200);
        metrics.incident(Incident::Restarted(2));
        let text = metrics.render(at(0));
        check(&text, "# TYPE supple_resizes_total counter");
        check(&text, r#"supple_resizes_total{result="resized",reason="Resized"} 1"#);
        check(&text, r#"supple_rollbacks_total{reason="OutOfMemory"} 1"#);
        check(&text, r#"supple_resize_duration_seconds_bucket{result="resized",le="0.5"} 0"#);
        check(&text, r#"supple_resize_duration_seconds_bucket{result="resized",le="1"} 1"#);
        check(&text, r#"supple_resize_duration_seconds_bucket{result="rolled-back",le="3600"} 0"#);
        check(&text, r#"supple_resize_duration_seconds_bucket{result="rolled-back",le="+Inf"} 1"#);
        check(&text, r#"supple_resize_duration_seconds_sum{result="resized"} 0.7"#);
        check(&text, r#"supple_resize_duration_seconds_count{result="resized"} 1"#);
        check(&text, r#"supple_raise_duration_seconds_bucket{le="0.01"} 0"#);
        check(&text, r#"supple_raise_duration_seconds_bucket{le="0.025"} 1"#);
        check(&text, r#"supple_incidents_total{incident="restarted"} 2"#);
        check(&text, "supple_leader 1");
        check(&text, "supple_leader_changes_total 1");
        check(&text, r#"supple_api_requests_total{verb="patch",resource="pods/resize",code="200"} 1"#);
    }

    /// The series of what is counted, without their values.
    fn counted(text: &str) -> BTreeSet<&str> {
        let families =
            ["supple_resizes_total", "supple_rollbacks_total", "supple_evictions_total", "supple_incidents_total"];
        let ours = |it: &&str| families.iter().any(|name| it.starts_with(name));
        text.lines().filter(ours).filter_map(|it| it.rsplit_once(' ')).map(|it| it.0).collect()
    }

    #[test]
    fn what_has_not_happened_yet_is_shown_as_nought_and_what_happens_is_no_new_series() {
        let metrics = Metrics::default();
        let before = metrics.render(at(0));
        check(&before, r#"supple_resizes_total{result="failed",reason="NoAnswer"} 0"#);
        check(&before, r#"supple_rollbacks_total{reason="OutOfMemory"} 0"#);
        check(&before, r#"supple_evictions_total{reason="RollOut"} 0"#);
        check(&before, r#"supple_incidents_total{incident="evicted"} 0"#);
        check(&before, "supple_leader_changes_total 0");
        check(&before, "supple_round_duration_seconds_count 0");
        for (how, reasons) in Ended::ALL {
            reasons.iter().for_each(|it| metrics.resize_ended(how, *it, Duration::ZERO));
        }
        metrics.resize_unanswered();
        for code in [Code::Evict, Code::RollOut] {
            metrics.evicted(code);
        }
        for incident in [Incident::OutOfMemory(0, at(0)), Incident::Restarted(1), Incident::Evicted] {
            metrics.incident(incident);
        }
        let after = metrics.render(at(0));
        assert_eq!(counted(&before), counted(&after));
        for name in counted(&after) {
            let times = after.lines().filter(|it| it.rsplit_once(' ').is_some_and(|it| it.0 == name)).count();
            assert_eq!(times, 1, "{name}");
        }
        check(&after, r#"supple_rollbacks_total{reason="OutOfMemory"} 1"#);
        metrics.round(Duration::ZERO);
        let after = metrics.render(at(0));
        assert_eq!(after.matches("\nsupple_round_duration_seconds_count ").count(), 1, "{after}");
        check(&after, "supple_round_duration_seconds_count 1");
    }

    #[test]
    fn a_source_that_tells_nothing_is_as_old_as_its_beginning() {
        let metrics = Metrics::default();
        metrics.source_begins(Source::Kubelet, at(100));
        let text = metrics.render(at(900));
        check(&text, r#"supple_source_newest_timestamp_seconds{source="kubelet"} 100"#);
        check(&text, r#"supple_source_failures_total{source="kubelet"} 0"#);
        check(&text, r#"supple_source_readings_total{source="kubelet"} 0"#);
    }

    #[test]
    fn our_own_parser_reads_all_of_it() {
        let metrics = Metrics::default();
        metrics.api_request("get \"x\\\n", "pods", 0);
        metrics.round(Duration::from_millis(3));
        let text = metrics.render(at(0));
        let lines = text.lines().filter(|it| !it.starts_with('#')).count();
        assert_eq!(samples(&text).count(), lines);
        let odd = samples(&text).find(|it| it.name == "supple_api_requests_total").unwrap();
        assert_eq!(odd.label("verb").as_deref(), Some("get \"x\\\n"));
    }
}
