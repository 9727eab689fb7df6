//! The edge of an election: one request at a time, and what comes of it published.

use std::fmt;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::candidate::{Candidate, Found, Step, Times};
use crate::run::Clock;
use crate::source::backoff::dice;

/// The field manager of the lease's writes.
const MANAGER: &str = "supple-leader-election";

/// Where the election is held, and who takes part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The lease's namespace.
    pub namespace: String,
    /// The lease's name.
    pub name: String,
    /// Who we are, for people; made unique by [`elect`].
    pub identity: String,
    /// The times.
    pub times: Times,
}

/// Whether we lead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Leadership {
    /// No: this one does, or nobody that we know of.
    Follows {
        /// Its identity.
        leader: Option<Arc<str>>,
    },
    /// Yes, until this moment at least. It moves on with every renewal.
    Leads {
        /// Nothing may be written after it.
        until: Instant,
    },
}

impl Leadership {
    /// Whether something may be written now. To be asked before every write: a program that was stopped for a while wakes up in
    /// the middle of what it was doing.
    #[must_use]
    pub fn may_act(&self, now: Instant) -> bool {
        matches!(self, Self::Leads { until } if now < *until)
    }
}

impl fmt::Display for Leadership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Leads { .. } => f.write_str("this replica leads"),
            Self::Follows { leader: Some(leader) } => write!(f, "{leader} leads"),
            Self::Follows { leader: None } => f.write_str("no replica leads yet"),
        }
    }
}

/// An election we take part in.
pub struct Election {
    /// Whether we lead; follows every change.
    pub leadership: watch::Receiver<Leadership>,
    /// Ends after `stop`, when the lease has been given back.
    pub ended: JoinHandle<()>,
}

/// Leadership without an election, for a program that runs once: always. It is one that nothing can end: where whoever elects is gone,
/// something is wrong.
#[must_use]
pub fn alone() -> watch::Receiver<Leadership> {
    static ALWAYS: LazyLock<watch::Sender<Leadership>> = LazyLock::new(|| {
        let forever = Instant::now() + Duration::from_secs(30 * 365 * 86_400);
        watch::Sender::new(Leadership::Leads { until: forever })
    });
    ALWAYS.subscribe()
}

/// Take part until `stop`, then give the lease back so that another need not wait for it to run out. Whoever cancels
/// `stop` has ended its own writes before.
#[must_use]
pub fn elect(client: Client, options: Options, clock: Clock, stop: CancellationToken) -> Election {
    let (sender, leadership) = watch::channel(Leadership::Follows { leader: None });
    // A program that comes back under the same name does not know what its predecessor still has under way.
    let me: Arc<str> = format!("{}_{:08x}{:08x}", options.identity, dice(), dice()).into();
    let edge = Edge {
        api: Api::namespaced(client, &options.namespace),
        name: options.name,
        candidate: Candidate::new(me.clone(), options.times),
        me,
        times: options.times,
        object: None,
        unsure: false,
        told: String::new(),
        began: Instant::now(),
        clock,
        sender,
    };
    Election { leadership, ended: tokio::spawn(edge.run(stop)) }
}

struct Edge {
    api: Api<Lease>,
    name: String,
    me: Arc<str>,
    times: Times,
    candidate: Candidate,
    /// The lease as it was last read or written.
    object: Option<Lease>,
    /// It has to be read before anything else is decided.
    unsure: bool,
    /// Why it could not be read or written when that was last tried.
    told: String,
    began: Instant,
    clock: Clock,
    sender: watch::Sender<Leadership>,
}

impl Edge {
    async fn run(mut self, stop: CancellationToken) {
        loop {
            let pause = tokio::select! {
                () = stop.cancelled() => break,
                pause = self.round() => pause,
            };
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(pause) => {}
            }
        }
        if self.candidate.acts_until().is_some() {
            self.candidate.lose();
            self.publish();
            // Whoever comes next need not wait; if this fails, it waits.
            let _ = tokio::time::timeout(self.patience(), self.write("")).await;
        }
    }

    /// How long one request may take: a leader must be able to make a second one in time.
    fn patience(&self) -> Duration {
        self.times.renew_deadline / 3
    }

    /// Look, decide, write; how long to wait then.
    async fn round(&mut self) -> Duration {
        if self.unsure || self.candidate.acts_until().is_none() {
            let looked = match tokio::time::timeout(self.patience(), self.api.get_opt(&self.name)).await {
                Ok(looked) => looked.map_err(|error| error.to_string()),
                Err(_) => Err("no answer in time".to_owned()),
            };
            match looked {
                Ok(object) => {
                    self.candidate.saw(object_found(object.as_ref()), self.began.elapsed());
                    self.object = object;
                    self.unsure = false;
                }
                Err(why) => {
                    if self.candidate.step(self.began.elapsed()) == Step::Lost {
                        self.lost();
                    }
                    return self.failed("read", &why);
                }
            }
        }
        let now = self.began.elapsed();
        let pause = match self.candidate.step(now) {
            Step::Wait(until) => until.saturating_sub(now).min(self.times.retry),
            Step::Claim | Step::Renew => self.hold(now).await,
            Step::Lost => {
                self.lost();
                Duration::ZERO
            }
        };
        self.publish();
        pause
    }

    fn lost(&mut self) {
        tracing::warn!(
            lease = self.name,
            "the lease was not renewed in time, or another replica holds it: this replica no longer leads"
        );
        self.candidate.lose();
    }

    async fn hold(&mut self, sent: Duration) -> Duration {
        let me = self.me.clone();
        let leads = self.candidate.acts_until().is_some();
        match tokio::time::timeout(self.patience(), self.write(&me)).await {
            Ok(Ok(found)) => {
                if !leads {
                    tracing::info!(lease = self.name, identity = %self.me, "this replica leads");
                }
                self.candidate.wrote(found, sent);
                self.told.clear();
                self.times.retry
            }
            Ok(Err(kube::Error::Api(status))) if status.code == 409 || (leads && status.code == 404) => {
                // Somebody has written, perhaps ourselves without being told: what is so now is to be read.
                self.unsure = true;
                if leads { Duration::ZERO } else { self.jitter() }
            }
            Ok(Err(error)) => self.failed("written", &error.to_string()),
            Err(_) => self.failed("written", "no answer in time"),
        }
    }

    /// What is said once of a failure that goes on.
    fn failed(&mut self, what: &str, why: &str) -> Duration {
        if self.told == why {
            tracing::debug!(lease = self.name, why, "the lease could not be {what}; will retry");
        } else {
            tracing::warn!(lease = self.name, why, "the lease could not be {what}; will retry");
            self.told = why.to_owned();
        }
        self.publish();
        self.jitter()
    }

    /// The usual pause and a little more, by chance: those who clashed do not clash again.
    fn jitter(&self) -> Duration {
        let share = u64::from(dice() % 256);
        self.times.retry + self.times.retry.mul_f64(0.2) * u32::try_from(share).unwrap_or(0) / 256
    }

    /// Write a holder into the lease, if it is still as we know it.
    async fn write(&mut self, holder: &str) -> Result<Found, kube::Error> {
        let now = MicroTime((self.clock)());
        let mut object = self.object.clone().unwrap_or_else(|| Lease {
            metadata: ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() },
            spec: None,
        });
        let old = object.spec.take().unwrap_or_default();
        let same = old.holder_identity.as_deref() == Some(holder);
        let is_taken_over = !same && !holder.is_empty() && old.holder_identity.is_some();
        let seconds = if holder.is_empty() { 1 } else { self.times.lease.as_secs().max(1) };
        object.spec = Some(LeaseSpec {
            holder_identity: Some(holder.to_owned()),
            lease_duration_seconds: i32::try_from(seconds).ok(),
            acquire_time: if same { old.acquire_time } else { Some(now.clone()) },
            renew_time: Some(now),
            lease_transitions: Some(old.lease_transitions.unwrap_or(0).saturating_add(i32::from(is_taken_over))),
            ..old
        });
        let params = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
        let written = if object.metadata.resource_version.is_some() {
            self.api.replace(&self.name, &params, &object).await?
        } else {
            self.api.create(&params, &object).await?
        };
        let found =
            object_found(Some(&written)).unwrap_or(Found { holder: holder.into(), lease: None, version: "".into() });
        self.object = Some(written);
        Ok(found)
    }

    fn publish(&self) {
        let now = match self.candidate.acts_until() {
            Some(until) => Leadership::Leads { until: self.began + until },
            None => Leadership::Follows { leader: self.candidate.leader().filter(|it| **it != self.me).cloned() },
        };
        self.sender.send_if_modified(|told| {
            let changed = *told != now;
            *told = now;
            changed
        });
    }
}

fn object_found(object: Option<&Lease>) -> Option<Found> {
    let object = object?;
    let spec = object.spec.as_ref();
    let seconds = spec.and_then(|it| it.lease_duration_seconds).and_then(|it| u64::try_from(it).ok());
    Some(Found {
        holder: spec.and_then(|it| it.holder_identity.as_deref()).unwrap_or_default().into(),
        lease: seconds.map(Duration::from_secs),
        version: object.metadata.resource_version.as_deref().unwrap_or_default().into(),
    })
}
