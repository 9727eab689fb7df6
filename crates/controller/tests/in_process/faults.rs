//! The loop while the world around it breaks under a seed, all of it at once: answers that are lost, refusals for a moment,
//! conflicts; watches that lag, end, and cannot be resumed or listed anew for minutes; a webhook that does not answer; a clock
//! that jumps; a leadership that comes and goes; and the loop itself killed in the middle of whatever it does. Whatever
//! happens, no pod is harmed, no node promises more than it has, nobody else's hand is forced, and in the end every resize that
//! was begun has come to its end and is written down.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use jiff::SignedDuration;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Client, ResourceExt as _};
use serde_json::json;
use supple_controller::lease::elect::Leadership;
use supple_controller::run::Clock;
use supple_decide::note::{Author, LastResize};
use supple_decide::progress::{Progress, progress};
use supple_quantity::{Bytes, MilliCpu, Quantity};
use tokio::sync::watch;
use tokio::time::Instant;
use tower::service_fn;

use super::broken::{Dice, Faulty};
use super::lab::{Lab, Loop};
use super::scaler;

/// Seeds of one run at the least; `SUPPLE_FAULT_SEED=7` runs one of them alone.
const SEEDS: u64 = 4;

/// Of `SUPPLE_FAULT_SEEDS`, which other crates' faults run in milliseconds, one in so many is run here: each is hours of a
/// cluster, and takes seconds.
const PART: u64 = 40;

/// How long the world breaks, in minutes, and how long it is whole again before it is judged.
const BROKEN: u64 = 30;
const WHOLE: u64 = 60;

/// How far the loop's clock jumps at most, forwards or back, in minutes.
const JUMP: u64 = 40;

const MINUTE: Duration = Duration::from_secs(60);

/// What the loop is given, broken.
struct World {
    seed: u64,
    lab: Lab,
    dice: Dice,
    client: Client,
    clock: Clock,
    /// By how many seconds the loop's clock is wrong.
    wrong: Arc<AtomicI64>,
    leadership: watch::Sender<Leadership>,
}

fn leads() -> Leadership {
    Leadership::Leads { until: Instant::now() + Duration::from_secs(86_400) }
}

impl World {
    async fn new(seed: u64) -> Self {
        let lab = Lab::new().await;
        lab.policy("quick", json!({"hpa": "Adjust"})).await;
        scaler::scaled(&lab).await;
        for (name, requests, limits, usage) in [
            ("big", "1/4Gi", "2/8Gi", "cpu=200m memory=250Mi"),
            ("waves", "1/2Gi", "2/4Gi", "cpu=wave(50m,600m,20m) memory=250Mi"),
            ("grows", "100m/300Mi", "1/1Gi", "cpu=50m memory=ramp(250Mi,600Mi,1h)"),
            ("held", "800m/1Gi", "1/2Gi", "cpu=100m memory=250Mi"),
        ] {
            lab.pod(name, requests, limits, usage).await;
        }
        let dice = Dice::new(seed);
        let service =
            Faulty::new(lab.client.clone(), dice.clone(), Instant::now() + MINUTE * u32::try_from(BROKEN).unwrap());
        let wrong = Arc::new(AtomicI64::new(0));
        let (right, by) = (lab.clock.clone(), wrong.clone());
        let clock: Clock = Arc::new(move || right() + SignedDuration::from_secs(by.load(Ordering::Relaxed)));
        let (leadership, _) = watch::channel(leads());
        let client = Client::new(service_fn(move |request| service.clone().answer(request)), "default");
        Self { seed, client, lab, dice, clock, wrong, leadership }
    }

    fn begin(&self) -> Loop {
        self.lab.begin_as(self.client.clone(), self.leadership.subscribe(), self.clock.clone(), None)
    }

    /// What befalls it in this minute.
    async fn minute(&self, minute: u64, work: Loop, down: &mut Option<u64>) -> Loop {
        // One in eight minutes is somebody else's.
        let lost = self.dice.throw(8) == 0;
        self.leadership.send(if lost { Leadership::Follows { leader: None } } else { leads() }).unwrap();
        if self.dice.throw(10) == 0 {
            let jump = i64::try_from(self.dice.throw(2 * JUMP * 60)).unwrap() - i64::try_from(JUMP * 60).unwrap();
            self.wrong.store(jump, Ordering::Relaxed);
        }
        match *down {
            None if self.dice.throw(10) == 0 => {
                self.webhook(true).await;
                *down = Some(minute + 1 + self.dice.throw(5));
            }
            Some(until) if minute >= until => {
                self.webhook(false).await;
                *down = None;
            }
            _ => {}
        }
        if self.dice.throw(10) == 0 {
            work.kill().await;
            tokio::time::sleep(Duration::from_secs(self.dice.throw(90))).await;
            return self.begin();
        }
        work
    }

    async fn webhook(&self, is_there: bool) {
        if !is_there {
            return self.lab.no_webhook().await;
        }
        let policy = if self.dice.throw(2) == 0 { "Fail" } else { "Ignore" };
        self.lab.silent_webhook(policy).await;
    }

    /// Somebody else sets the sizes of one pod: from then on it is theirs. Whether it came about: the webhook may be in the way.
    async fn another_hand(&self) -> bool {
        let sizes = json!({"requests": {"cpu": "700m"}, "limits": {"cpu": "1"}});
        let patch = json!({"spec": {"containers": [{"name": "app", "resources": sizes}]}});
        let other = PatchParams { field_manager: Some("vpa-updater".to_owned()), ..PatchParams::default() };
        match self.lab.pods().patch_resize("held", &other, &Patch::Strategic(&patch)).await {
            Ok(_) => true,
            Err(kube::Error::Api(status)) if status.code == 500 => false,
            Err(error) => panic!("seed {}: {error}", self.seed),
        }
    }

    async fn pods(&self) -> Vec<Pod> {
        self.lab.pods().list(&ListParams::default()).await.unwrap().items
    }

    /// What pods must never come to.
    async fn check(&self) {
        let seed = self.seed;
        let (mut cpu, mut memory) = (0, 0);
        for pod in self.pods().await {
            let name = pod.name_any();
            let status = pod.status.clone().unwrap_or_default();
            assert_eq!(status.qos_class.as_deref(), Some("Burstable"), "seed {seed}: {name}");
            let is_noted = name == "held" || LastResize::read(&pod).is_some();
            assert!(pod.metadata.generation == Some(1) || is_noted, "seed {seed}: {name} was resized without a note");
            for container in status.container_statuses.unwrap_or_default() {
                assert_eq!(container.restart_count, 0, "seed {seed}: {name} was restarted");
                let of = |list: Option<&std::collections::BTreeMap<String, _>>, what: &str, none: &str| -> Quantity {
                    let text = list
                        .and_then(|it| it.get(what))
                        .map(|it: &k8s_openapi::apimachinery::pkg::api::resource::Quantity| it.0.clone());
                    text.as_deref().unwrap_or(none).parse().unwrap()
                };
                let allocated = container.allocated_resources.as_ref();
                cpu += MilliCpu::from(&of(allocated, "cpu", "0")).0;
                memory += Bytes::from(&of(allocated, "memory", "0")).0;
                let limits = container.resources.and_then(|it| it.limits);
                let limit = Bytes::from(&of(limits.as_ref(), "memory", "1Ti"));
                assert!(limit.0 > 250 << 20, "seed {seed}: {name} has less than it uses: {limit}");
            }
        }
        assert!(cpu <= 4000 && memory <= 16 << 30, "seed {seed}: the node promised {cpu}m and {memory} bytes");
    }

    /// Everything that was begun has come to its end, and is written down.
    async fn check_end(&self) {
        let seed = self.seed;
        for pod in self.pods().await {
            let name = pod.name_any();
            let is = progress(&pod, pod.metadata.generation.unwrap_or_default());
            assert_eq!(is, Progress::Settled, "seed {seed}: {name} is still under way");
            let Some(note) = LastResize::read(&pod).filter(|it| it.by == Author::Controller && name != "held") else {
                continue;
            };
            let of_workload = pod.labels().get("app").map_or(format!("pod-{name}"), |it| format!("deployment-{it}"));
            let record = self.lab.rightsizing(&of_workload).await.record.unwrap_or_default();
            let was_set = pod.metadata.generation > Some(note.generation);
            let is_told = record.last_resizes.iter().any(|it| it.pod == name && it.at == note.at);
            assert!(
                !was_set || is_told,
                "seed {seed}: how the resize of {name} at {} ended is not written down",
                note.at
            );
        }
        scaler::check_scale_point(&self.lab, &format!("seed {seed}")).await;
        let big = self.lab.requests("big").await;
        assert!(!big.starts_with("1/"), "seed {seed}: what was too large has been fitted in the end: {big}");
        let held = self.lab.requests("held").await;
        assert!(held.starts_with("700m/"), "seed {seed}: what another hand set was changed: {held}");
        let record = self.lab.rightsizing("pod-big").await.record.unwrap_or_default();
        let original = record.originals.get("app").and_then(|it| it.cpu_request.clone());
        assert_eq!(original.as_deref(), Some("1"), "seed {seed}: what was before is remembered");
    }
}

async fn run(seed: u64) {
    let world = World::new(seed).await;
    let mut work = world.begin();
    let (mut hand, mut down) = (Some(1 + world.dice.throw(BROKEN - 1)), None);
    for minute in 0..BROKEN {
        tokio::time::sleep(MINUTE).await;
        world.check().await;
        if hand.is_some_and(|it| minute >= it) && world.another_hand().await {
            hand = None;
        }
        work = world.minute(minute, work, &mut down).await;
    }
    if down.is_some() {
        world.webhook(false).await;
    }
    if hand.is_some() {
        assert!(world.another_hand().await);
    }
    world.wrong.store(0, Ordering::Relaxed);
    world.leadership.send(leads()).unwrap();
    for _ in 0..WHOLE {
        tokio::time::sleep(MINUTE).await;
        world.check().await;
    }
    world.check_end().await;
    work.end().await;
    world.lab.cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn nothing_is_harmed_and_everything_comes_to_its_end() {
    let number = |name: &str| std::env::var(name).ok().and_then(|it| it.parse::<u64>().ok());
    let seeds = match (number("SUPPLE_FAULT_SEED"), number("SUPPLE_FAULT_SEEDS")) {
        (Some(one), _) => one..one + 1,
        (None, count) => 0..(count.unwrap_or(0) / PART).max(SEEDS),
    };
    for seed in seeds {
        eprintln!("SUPPLE_FAULT_SEED={seed} cargo test -p supple-controller --test in_process faults");
        run(seed).await;
    }
}
