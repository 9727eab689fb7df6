//! The loop's thin edge: watches become events, effects become requests. It decides nothing.

pub(crate) mod answers;
mod perform;
mod turns;
pub(crate) mod watches;

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kube::Client;
use kube::runtime::watcher;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, Interval, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use self::answers::Answers;
use crate::carry::Answer;
use crate::caught::caught;
use crate::event::{Effect, Event};
use crate::history_file::{Found, HistoryFile};
use crate::lease::elect::Leadership;
use crate::lease::mandate::Mandate;
use crate::metrics::{Ended, Metrics, Picture};
use crate::record::Teller;
use crate::serve::health::Health;
use crate::snapshot::Snapshot;
use crate::source::backoff::Backoff;
use crate::source::kubelet::sweep::Pace;
use crate::source::prometheus::client::{Prometheus, QueryError};
use crate::source::prometheus::history::{Manner, Pasts, Queries, newest};
use crate::source::prometheus::part::PodName;
use crate::source::{Source, kubelet};
use crate::view::News;
use crate::world::knowledge::Shared;
use crate::world::{Settings, World};

/// Where time comes from.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// What the loop is run with.
pub struct Options {
    /// How often to measure and decide.
    pub interval: Duration,
    /// What it is told once.
    pub settings: Settings,
    /// Who of several replicas this is: what its events say, as its lease does.
    pub instance: String,
    /// Where time comes from.
    pub clock: Clock,
    /// Where every decision and action is written down, one JSON object a line.
    pub audit: Option<tokio::fs::File>,
    /// Whether we lead; only who leads acts and writes.
    pub leadership: watch::Receiver<Leadership>,
    /// How fast kubelets are asked for throttling, pressure and swap; `None`: not at all.
    pub kubelets: Option<Pace>,
    /// Where history comes from, by which queries, and guards are evaluated.
    pub prometheus: Option<(Prometheus, Queries)>,
    /// The file that what was learned is kept in, and what was found in it.
    pub history: Option<(HistoryFile, Found)>,
    /// What others look at.
    pub outlets: Outlets,
}

/// What others look at while the loop runs; each is cheap to clone and may be looked at by nobody.
#[derive(Clone, Debug)]
pub struct Outlets {
    /// Counters and gauges.
    pub metrics: Metrics,
    /// Whether it comes round, and can do its work.
    pub health: Health,
    /// What the webhook answers from, where there is one.
    pub knowledge: Option<Shared>,
}

impl Outlets {
    /// Nobody has looked yet. A loop that looks every `interval` is stuck when it has not come round for ten of them.
    pub fn new(interval: Duration) -> Self {
        let silence = (interval * 10).max(Duration::from_secs(120));
        Self { metrics: Metrics::default(), health: Health::new(silence, &[CLUSTER]), knowledge: None }
    }
}

/// The part of readiness that is ours: everything that a decision rests on has been read once.
const CLUSTER: &str = "cluster";

/// How far back history is read: a week, which is what the recommender remembers by the hour.
const MEMORY: SignedDuration = SignedDuration::from_hours(7 * 24);

/// How long a Prometheus is left alone that could not tell the past.
const PATIENCE: Backoff = Backoff { first: Duration::from_secs(30), longest: Duration::from_secs(600) };

/// How often it is asked how fresh it is.
const FRESHNESS: Duration = Duration::from_secs(60);

/// Answers that wait to be taken in: pods at the start, and usage of some hundred pods each.
const QUEUE: usize = 16;

/// Nodes that are to be asked out of turn.
const HURRIED: usize = 32;

/// How often a snapshot is made at most. Every status of every pod is an event, and nobody reads faster than this.
const REDRAW: Duration = Duration::from_millis(250);

/// How long the end of the loop waits for what is being told and written.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Why the loop ended before it was told to.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// What tells it of the cluster has panicked: it would decide on a cluster that stands still.
    #[error(
        "a watch of the loop failed because of a bug in Supple ({0}; the log above says where): the loop has \
         stopped, because it no longer sees the cluster; restart it"
    )]
    Watch(JoinError),
    /// What tells it whether it leads has ended, which it never does by itself: it would lead no longer, and never again.
    #[error(
        "the leader election failed because of a bug in Supple (the log above says where): the loop has stopped, \
         because it could never lead again; restart it"
    )]
    Election,
}

/// Run until told to stop. Snapshots are published to `rows`; nobody needs to look at them.
///
/// # Errors
/// [`Broken`]: it has ended by itself, and whoever supervises it is to begin it anew.
pub async fn run(
    client: Client,
    options: Options,
    rows: watch::Sender<Snapshot>,
    stop: CancellationToken,
) -> Result<(), Broken> {
    let mut work = Loop::begin(&client, options, rows, stop);
    let mut next = (Instant::now(), Event::Leading(work.may_act()));
    loop {
        let (told, event) = next;
        let handed_over = matches!(event, Event::Leading(false));
        let effects = work.take(event);
        work.carry(effects, told).await;
        if handed_over {
            let _ = tokio::time::timeout(LAST_WORDS, work.hands.audited()).await;
        }
        match work.next().await {
            ControlFlow::Continue(happened) => next = happened,
            ControlFlow::Break(ended) => {
                work.end().await;
                return ended;
            }
        }
    }
}

/// The loop at work: what it knows, what it listens to, and what carries out what it wants done.
struct Loop {
    world: World,
    hands: perform::Hands,
    answers: Answers,
    answered: mpsc::Receiver<(Instant, Event)>,
    watching: JoinSet<()>,
    kubelets: Option<Kubelets>,
    /// What usage is read from.
    sources: Vec<Source>,
    /// The Prometheus whose past has not been asked for yet.
    unread: Option<(Prometheus, Queries)>,
    ticks: Interval,
    redraws: Interval,
    /// Something has happened since the last snapshot.
    is_stale: bool,
    /// Not all that a decision rests on has been read.
    is_reading: bool,
    leadership: watch::Receiver<Leadership>,
    clock: Clock,
    outlets: Outlets,
    rows: watch::Sender<Snapshot>,
    stop: CancellationToken,
}

impl Loop {
    fn begin(client: &Client, options: Options, rows: watch::Sender<Snapshot>, stop: CancellationToken) -> Self {
        let Options { interval, settings, instance, clock, audit, leadership, kubelets, prometheus, history, outlets } =
            options;
        let reads_past = settings.reads_past || prometheus.is_some();
        let mut world = World::new(Settings { audits: audit.is_some(), reads_past, ..settings });
        let (answers, answered) = Answers::new(QUEUE);
        let mut hands = perform::Hands::new(
            client.clone(),
            Mandate::of(leadership.clone()),
            Teller::new(client.clone(), &instance),
            answers.clone(),
            clock.clone(),
            prometheus.as_ref().map(|it| it.0.clone()),
            outlets.metrics.clone(),
        );
        if let Some(file) = audit {
            hands.audit_in(file, stop.clone());
        }
        let mut sources = vec![Source::MetricsApi];
        sources.extend(kubelets.is_some().then_some(Source::Kubelet));
        sources.extend(prometheus.is_some().then_some(Source::Prometheus));
        let begun = clock();
        for source in &sources {
            outlets.metrics.source_begins(*source, begun);
        }
        if let Some((file, found)) = history {
            outlets.metrics.history_kept(begun); // a volume that is full from the start is to be seen, too
            if let Some(why) = found.set_aside {
                tracing::warn!("{why}");
            }
            world.keep(found.pages);
            hands.keep_in(file);
        }
        let mut watching = JoinSet::new();
        watches::begin(client, &answers, &mut watching);
        watches::evictions(client, &answers, &mut watching);
        let kubelets =
            kubelets.map(|pace| sweep(client, pace, &clock, &outlets.metrics, &answers, &mut watching, &stop));
        let every = |period| {
            let mut ticks = tokio::time::interval(period);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks
        };
        Self {
            world,
            hands,
            answers,
            answered,
            watching,
            kubelets,
            sources,
            unread: prometheus,
            ticks: every(interval),
            redraws: every(REDRAW),
            is_stale: false,
            is_reading: true,
            leadership,
            clock,
            outlets,
            rows,
            stop,
        }
    }

    fn may_act(&self) -> bool {
        self.leadership.borrow().may_act(Instant::now())
    }

    /// What happens next, and when it was told; or why nothing will.
    async fn next(&mut self) -> ControlFlow<Result<(), Broken>, (Instant, Event)> {
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return ControlFlow::Break(Ok(())),
                _ = self.ticks.tick() => return ControlFlow::Continue((Instant::now(), Event::Tick)),
                _ = self.redraws.tick(), if self.is_stale => self.redraw(),
                Some(told) = self.answered.recv() => return ControlFlow::Continue(told),
                changed = self.leadership.changed() => return match changed {
                    Ok(()) => ControlFlow::Continue((Instant::now(), Event::Leading(self.may_act()))),
                    Err(_) => ControlFlow::Break(Err(Broken::Election)),
                },
                Some(_) = self.hands.ended() => {}
                Some(ended) = self.watching.join_next() => match ended {
                    Err(error) if error.is_panic() => return ControlFlow::Break(Err(Broken::Watch(error))),
                    _ => {}
                },
            }
        }
    }

    fn redraw(&mut self) {
        self.is_stale = false;
        let now = self.world.snapshot();
        // Of twenty thousand pods it is a hundredth of a second's work, and nobody follows so many.
        self.redraws.reset_after(REDRAW.saturating_mul(1 + u32::try_from(now.pods).unwrap_or(u32::MAX) / 500));
        self.rows.send_if_modified(|shown| {
            let changed = *shown != now;
            *shown = now;
            changed
        });
    }

    /// Take in what happened, put up what others look at, and say what is to be done.
    fn take(&mut self, event: Event) -> Vec<Effect> {
        let is_round = matches!(event, Event::Usage(_));
        let metrics = self.outlets.metrics.clone();
        heard(&metrics, &event, (self.clock)());
        match event {
            Event::Tick => self.outlets.health.beat(),
            Event::Leading(leads) => metrics.leads(leads),
            _ => {}
        }
        let counted = counts_again(&event);
        let began = Instant::now();
        let effects = self.world.apply(event, (self.clock)());
        if let Some((knowledge, namespace)) = self.outlets.knowledge.as_ref().zip(counted) {
            knowledge.take_quotas(&self.world, &namespace);
        }
        if self.is_reading && self.world.is_complete() {
            // All has been read: what is to be done need not wait for the next tick.
            self.is_reading = false;
            self.ticks.reset_immediately();
        }
        if let Some(prometheus) = self.unread.take_if(|_| is_round && self.world.is_complete()) {
            remember(prometheus, self.world.without_past(), &self.clock, &metrics, &self.answers, &mut self.watching);
        }
        if is_round {
            metrics.round(began.elapsed());
            if self.world.is_complete() && self.world.scene().pods.is_empty() {
                // Where there are no pods nothing is measured, and nothing is old.
                self.sources.iter().for_each(|it| metrics.source_newest(*it, (self.clock)()));
            }
            show(&self.world, &self.outlets, self.may_act(), (self.clock)());
            if let Some(kubelets) = &self.kubelets {
                kubelets.ask(&self.world);
            }
        }
        self.is_stale = true;
        effects
    }

    /// Begin with what is to be done about what was told at this moment.
    async fn carry(&mut self, effects: Vec<Effect>, told: Instant) {
        for effect in effects {
            count(&self.outlets.metrics, &self.world, &effect, (self.clock)());
            // Asked before every write: a program that was stopped for a while wakes up in the middle of what it was doing.
            match effect.of_one_who_leads(self.may_act()) {
                Ok(effect) => self.hands.perform(effect, told).await,
                Err(Some(instead)) => drop(self.world.apply(instead, (self.clock)())),
                Err(None) => {}
            }
        }
    }

    /// Resizes under way are let go: the node carries them on, and their notes are on the pods. What has been learned and what has
    /// happened is still written, if that does not take long.
    async fn end(mut self) {
        for effect in self.world.last_words((self.clock)()) {
            if let Ok(effect) = effect.of_one_who_leads(self.may_act()) {
                self.hands.perform(effect, Instant::now()).await;
            }
        }
        let _ = tokio::time::timeout(LAST_WORDS, self.hands.audited()).await;
        self.hands.close_audit();
        let _ = tokio::time::timeout(LAST_WORDS, self.hands.finish()).await;
    }
}

/// Read what a Prometheus remembers of these pods, once, however often it has to be asked; and look every minute how old its newest measurement is.
fn remember(
    (server, queries): (Prometheus, Queries),
    pods: Vec<(PodName, usize)>,
    clock: &Clock,
    metrics: &Metrics,
    answers: &Answers,
    tasks: &mut JoinSet<()>,
) {
    let begun = clock();
    let (freshness, count, clock) = ((server.clone(), queries.clone()), metrics.clone(), clock.clone());
    let look = async move {
        let (server, queries) = freshness;
        let mut looks = tokio::time::interval(FRESHNESS);
        loop {
            looks.tick().await;
            match newest(&server, &queries, clock()).await {
                Ok(Some(newest)) => count.source_newest(Source::Prometheus, newest),
                Ok(None) => {}
                Err(error) => {
                    count.source_failed(Source::Prometheus);
                    tracing::debug!(%error, "Prometheus does not say how fresh it is");
                }
            }
        }
    };
    // The loop does without both: a defect of them is no reason for it to end.
    tasks.spawn(async move { drop(caught("looking how fresh Prometheus is", look).await) });
    let (answers, metrics) = (answers.clone(), metrics.clone());
    let read = async move {
        // Up to our own beginning, however late it is read: what we have measured since must not count twice.
        let span = (begun.checked_sub(MEMORY).unwrap_or(begun), begun);
        let mut told = false;
        let mut failed = |error: &QueryError, pause: Duration| {
            metrics.source_failed(Source::Prometheus);
            if std::mem::replace(&mut told, true) {
                tracing::debug!(%error, ?pause, "history still cannot be read from Prometheus");
            } else {
                tracing::warn!(%error, "cannot read history from Prometheus yet; will retry, and learns from current \
                                        usage until then");
            }
        };
        let mut pasts = Pasts::new(server, queries, pods, span, Manner::default(), PATIENCE);
        let (mut containers, mut warned) = (0, BTreeSet::new());
        while let Some(part) = pasts.next(&mut failed).await {
            let history = match part {
                Ok(history) => history,
                Err(given_up) => {
                    metrics.source_failed(Source::Prometheus);
                    tracing::error!("{given_up}");
                    continue;
                }
            };
            let extent = history.extent();
            for warning in history.warnings {
                if warned.insert(warning.clone()) {
                    tracing::warn!(
                        warning,
                        "the history may be incomplete: nothing is lowered until Supple itself has watched for as long"
                    );
                }
            }
            containers += history.past.len();
            let (token, taken) = oneshot::channel();
            if answers.send(Event::Past(history.past, extent, token)).await.is_err() {
                return; // the loop has ended
            }
            drop(taken.await); // it ends with the token, which nothing is sent through
        }
        tracing::info!(containers, "history read from Prometheus");
    };
    tasks.spawn(async move { drop(caught("reading history from Prometheus", read).await) });
}

/// Put up what others look at.
fn show(world: &World, outlets: &Outlets, leads: bool, now: Timestamp) {
    let missing = world.missing();
    let ready = if missing.is_empty() { Ok(()) } else { Err(format!("not read yet: {}", missing.join(", "))) };
    outlets.health.set(CLUSTER, ready);
    outlets.metrics.stopped(world.scene().cluster.stopped.is_some());
    outlets.metrics.show(if leads { world.picture(now) } else { Picture::default() });
    if let Some(knowledge) = &outlets.knowledge {
        knowledge.take(world);
    }
}

/// The namespace of which a quota says how much of it is used now, or holds no more.
fn counts_again(event: &Event) -> Option<String> {
    let Event::News(news) = event else { return None };
    match &**news {
        News::ResourceQuota(watcher::Event::Apply(quota) | watcher::Event::Delete(quota)) => {
            quota.metadata.namespace.clone()
        }
        _ => None,
    }
}

/// Count what sources told, and what was asked for in vain.
fn heard(metrics: &Metrics, event: &Event, now: Timestamp) {
    let tell = |source: Source, newest: Option<Timestamp>, readings: usize| {
        metrics.source_told(source, readings);
        if let Some(newest) = newest {
            metrics.source_newest(source, newest.min(now)); // a clock that is ahead must not hide that all others are silent
        }
    };
    match event {
        Event::Measured(usage) | Event::Usage(Ok(usage)) => {
            let newest = usage.iter().flat_map(|it| it.containers.values()).map(|it| it.at).max();
            tell(Source::MetricsApi, newest, usage.iter().map(|it| it.containers.iter().len()).sum());
        }
        Event::Usage(Err(_)) => metrics.source_failed(Source::MetricsApi),
        Event::Detailed(readings) => {
            tell(Source::Kubelet, readings.iter().map(|it| it.usage.at).max(), readings.len());
        }
        Event::Answered(order, Answer::Busy(_) | Answer::Failed(_)) if order.action.what.change().is_some() => {
            metrics.resize_unanswered()
        }
        Event::Past(past, ..) => tell(Source::Prometheus, None, past.iter().map(|it| it.samples().len()).sum()),
        _ => {}
    }
}

/// Count what ended, and what befell somebody.
fn count(metrics: &Metrics, world: &World, effect: &Effect, now: Timestamp) {
    use supple_decide::code::Code;
    let told = match effect {
        Effect::Tell(told, _) => told,
        Effect::Count(incident) => return metrics.incident(*incident),
        _ => return,
    };
    let ended = match told.code {
        Code::Resized => Ended::Resized,
        Code::RollBack => Ended::RolledBack,
        Code::Refused => Ended::Refused,
        // These also say what stands in the way of the next one, again and again; and a giving back bears the code of what it
        // gives up. Counted is the end that is written down.
        Code::GivenUp | Code::Infeasible | Code::NodeFailing if !world.is_end(told) => return,
        Code::GivenUp => Ended::GivenUp,
        Code::Infeasible => Ended::Infeasible,
        Code::NodeFailing => Ended::Failed,
        Code::Evict | Code::RollOut => return metrics.evicted(told.code),
        _ => return,
    };
    // Taken back is a resize that was made before, for a reason that stands in the record.
    let behind = if ended == Ended::RolledBack { world.harm_behind(told) } else { None };
    let (reason, began) = behind.unwrap_or((told.code, told.at));
    let after = Duration::try_from(now.duration_since(began)).unwrap_or_default();
    metrics.resize_ended(ended, reason, after);
}

/// Whom the sweep of kubelets asks.
struct Kubelets {
    nodes: watch::Sender<Vec<Arc<str>>>,
    hurry: mpsc::Sender<Arc<str>>,
}

impl Kubelets {
    /// These nodes in their turn, and those first on which memory is nearly used up.
    fn ask(&self, world: &World) {
        self.nodes.send_if_modified(|known| {
            let now: Vec<Arc<str>> = world.scene().nodes.keys().cloned().collect();
            let changed = *known != now;
            *known = now;
            changed
        });
        for node in world.pressed_nodes() {
            let _ = self.hurry.try_send(node); // so many are waiting that this one can wait for the next round
        }
    }
}

/// Ask kubelets in their turn.
fn sweep(
    client: &Client,
    pace: Pace,
    clock: &Clock,
    metrics: &Metrics,
    answers: &Answers,
    tasks: &mut JoinSet<()>,
    stop: &CancellationToken,
) -> Kubelets {
    let (nodes, known) = watch::channel(Vec::new());
    let (hurry, hurried) = mpsc::channel(HURRIED);
    let (out, mut swept) = mpsc::channel(16);
    tasks.spawn(kubelet::run(client.clone(), pace, clock.clone(), known, hurried, out, stop.clone()));
    let (answers, metrics) = (answers.clone(), metrics.clone());
    tasks.spawn(async move {
        while let Some(swept) = swept.recv().await {
            let readings = match swept.readings {
                Ok(readings) => readings,
                Err(error) => {
                    tracing::debug!(%error, node = &*swept.node, "its kubelet does not report it");
                    metrics.source_failed(Source::Kubelet);
                    continue;
                }
            };
            if answers.send(Event::Detailed(readings)).await.is_err() {
                return;
            }
        }
    });
    Kubelets { nodes, hurry }
}
