//! One run: a cluster with a few pods lives several lives, is asked for resizes, is killed and loses power, and everything
//! it stands on fails as the dice say; then all is calm, and it must come to where it was told to be.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::admissionregistration::v1::{MutatingWebhookConfiguration, ValidatingWebhookConfiguration};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use supple_cluster::{Cluster, ClusterOptions, Home, NodeRuntime, NodeSettings, Seams, Speed};
use supple_node::Capacity;
use supple_node::runtime::Runtime;
use supple_node::runtime::simulated::{SimulatedOptions, SimulatedRuntime};
use supple_quantity::{Bytes, MilliCpu};

use crate::checks;
use crate::dice::{Dice, TALLY};
use crate::disk::Disk;
use crate::hook::{self, Hook};
use crate::life::Life;
use crate::machine::{HELD, Machine, Referee, lock};
use crate::wire::wire;

/// The node: small, so that resizes must wait for each other.
pub const CAPACITY: Capacity = Capacity { cpu: MilliCpu(2000), memory: Bytes(2 << 30), pods: 10 };
const PODS: [&str; 4] = ["p0", "p1", "p2", "p3"];
/// Longest patience for the end, in virtual time: back-offs of several kinds add up to some minutes.
const PATIENCE: Duration = Duration::from_secs(3600);

/// Everything that outlives the process.
pub struct World {
    pub dice: Arc<Dice>,
    pub store: Arc<Disk>,
    pub checkpoints: Arc<Disk>,
    pub runtime: Arc<SimulatedRuntime>,
    pub referee: Arc<Mutex<Referee>>,
    /// What the clock says, and the start of the present life in the runtime's own time.
    clock: Arc<Mutex<(Timestamp, Option<tokio::time::Instant>)>>,
    /// 0: no webhooks; 1: without them there are neither resizes nor new pods; 2: they may be ignored.
    hooked: u64,
    /// Pods that were created while a webhook had to write into them.
    pub marked: BTreeSet<String>,
    /// Whether a webhook has to write into what is created in this life.
    marks: bool,
    /// Whether what is written waits for a disk that may hang, and is flushed together; else each write is flushed at once.
    paced: bool,
    /// Sizes that were acknowledged, and those asked for since whose answer never came.
    pub acknowledged: BTreeMap<String, (Value, Vec<Value>)>,
}

impl World {
    fn new(seed: u64) -> Self {
        let dice = Arc::new(Dice::new(seed));
        let start = Timestamp::from_second(1_800_000_000).expect("a time in the range of timestamps");
        let clock = Arc::new(Mutex::new((start, None)));
        let restartable = PODS.iter().filter(|_| dice.roll("restarts", 3) == 0);
        let restartable = restartable.map(|name| format!("{name}/app")).collect();
        let options = SimulatedOptions { seed, ..SimulatedOptions::new(reading(&clock)) };
        Self {
            store: Disk::new("store", Arc::clone(&dice)),
            checkpoints: Disk::new("checkpoints", Arc::clone(&dice)),
            runtime: Arc::new(SimulatedRuntime::new(options)),
            referee: Arc::new(Mutex::new(Referee::new(restartable))),
            acknowledged: BTreeMap::new(),
            marked: BTreeSet::new(),
            marks: false,
            hooked: dice.roll("hooked", 4) % 3,
            paced: dice.roll("paced", 2) == 0,
            clock,
            dice,
        }
    }

    fn note(&self, what: String) {
        lock(&self.referee).history.push(what);
    }

    /// Sets the clock forward or back.
    fn jump(&self, seconds: i64) {
        let mut clock = lock(&self.clock);
        clock.0 = clock.0.checked_add(SignedDuration::from_secs(seconds)).unwrap_or(clock.0);
    }
}

fn reading(clock: &Arc<Mutex<(Timestamp, Option<tokio::time::Instant>)>>) -> supple_cluster::ClusterClock {
    let clock = Arc::clone(clock);
    Arc::new(move || {
        let (at, since) = *lock(&clock);
        let gone = since.map_or(Duration::ZERO, |since| since.elapsed());
        SignedDuration::try_from(gone).ok().and_then(|gone| at.checked_add(gone).ok()).unwrap_or(at)
    })
}

/// Why a life ended.
enum End {
    /// It was killed.
    Killed,
    /// All that was to be done has been done, and what came of it was checked.
    Done,
}

/// Runs a seed. The error says which rule was broken, and everything that led to it.
pub fn run(seed: u64) -> Result<(), String> {
    let mut world = World::new(seed);
    let lives = 1 + world.dice.roll("lives", 4);
    let mut life = 0;
    loop {
        life += 1;
        if life > lives {
            world.dice.calm();
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
        let runtime = runtime.map_err(|error| error.to_string())?;
        world.note(format!("life {life}"));
        let ended = runtime.block_on(live(&mut world, life > lives));
        // Every task of the process goes with its runtime, wherever it is.
        drop(runtime);
        let broken = lock(&world.referee).broken.clone();
        match ended {
            Ok(End::Done) if broken.is_empty() => return Ok(()),
            Ok(End::Killed) if broken.is_empty() => {}
            Ok(_) => return Err(report(&world, &broken.join("\n"))),
            Err(error) => return Err(report(&world, &error)),
        }
        if world.dice.roll("death", 2) == 0 {
            world.note("killed".to_owned());
            TALLY.count("process", "killed");
            world.store.killed();
            world.checkpoints.killed();
        } else {
            world.note("the power failed".to_owned());
            TALLY.count("process", "killed by a power failure");
            world.store.power_lost();
            world.checkpoints.power_lost();
        }
        checks::nothing_overcommitted(&world).map_err(|error| report(&world, &error))?;
    }
}

fn report(world: &World, error: &str) -> String {
    let referee = lock(&world.referee);
    let from = referee.history.len().saturating_sub(80);
    format!("{error}\nafter:\n{}", referee.history[from..].join("\n"))
}

async fn live(world: &mut World, last: bool) -> Result<End, String> {
    lock(&world.clock).1 = Some(tokio::time::Instant::now());
    let life = Arc::new(Life::default());
    if !last {
        life.light(1 + world.dice.roll("fuse", 400));
    }
    let ended = tokio::select! {
        biased;
        () = life.end() => Ok(End::Killed),
        done = process(world, &life, last) => done,
    };
    life.die();
    let now = reading(&world.clock)();
    *lock(&world.clock) = (now, None);
    ended
}

/// The process, and whoever asks it for things.
async fn process(world: &mut World, life: &Arc<Life>, last: bool) -> Result<End, String> {
    let options = options(world, life);
    let cluster = match Cluster::start(options).await {
        Ok(cluster) => cluster,
        // With faults it may not come up; without, it must.
        Err(error) if last => return Err(format!("it does not start: {error}")),
        Err(error) => {
            world.note(format!("it does not start: {error}"));
            return Ok(End::Killed);
        }
    };
    let client = cluster.client();
    checks::nothing_lost(world, &client).await?;
    world.marks = hook(world, &client).await;
    create(world, &client).await;
    let steps = if last { 4 } else { 4 + world.dice.roll("steps", 12) };
    for _ in 0..steps {
        act(world, &client, life).await;
        let pause = Duration::from_millis(1 + world.dice.roll("pause", 20_000));
        tokio::time::sleep(pause).await;
        checks::nothing_broken(world)?;
    }
    if !last {
        return Ok(End::Killed);
    }
    // Shorter than any back-off: what is so for this long stays so.
    for waited in 0.. {
        let settled = checks::settled(world, &client).await;
        match settled {
            Ok(()) => break,
            Err(error) if Duration::from_secs(waited * 5) > PATIENCE => return Err(error),
            Err(_) => tokio::time::sleep(Duration::from_secs(5)).await,
        }
    }
    Ok(End::Done)
}

fn options(world: &World, life: &Arc<Life>) -> ClusterOptions {
    let machine = Machine {
        runtime: Arc::clone(&world.runtime),
        referee: Arc::clone(&world.referee),
        dice: Arc::clone(&world.dice),
        life: Arc::clone(life),
    };
    let node = NodeSettings {
        name: "node".to_owned(),
        capacity: CAPACITY,
        memory_qos: supple_cluster::MemoryQos::default(),
        runtime: NodeRuntime::Given(Arc::new(machine)),
        stand_in: Vec::new(),
    };
    let (fuse, store, checkpoints) = (Arc::clone(life), Arc::clone(&world.store), Arc::clone(&world.checkpoints));
    let crash = move |_: &'static str| {
        if fuse.burn() {
            // The process is gone at this very line: whatever it has open takes nothing more.
            store.killed();
            checkpoints.killed();
        }
    };
    ClusterOptions {
        home: Home::Disks {
            store: world.store.opener(),
            checkpoints: world.checkpoints.opener(),
            pace: world.paced.then(|| (world.store.pace(), world.checkpoints.pace())),
        },
        nodes: vec![node],
        clock: reading(&world.clock),
        speed: Speed::REAL,
        seams: Seams {
            crash: Some(Arc::new(crash)),
            wire: Some(wire(Arc::clone(&world.dice), Arc::clone(life))),
            pods_on_wire: world.dice.roll("way of pods", 2) == 0,
            webhooks: Some(Arc::new(Hook { dice: Arc::clone(&world.dice), life: Arc::clone(life) })),
        },
    }
}

/// Has every second world ask webhooks about resizes and new pods. True where new pods are surely written into.
async fn hook(world: &World, client: &Client) -> bool {
    if world.hooked == 0 {
        return false;
    }
    let closed = world.hooked == 1;
    let how = PostParams::default();
    // They are there since an earlier life, or are not taken now: either is a world to be lived in.
    let judging = serde_json::from_value(hook::judging(closed)).expect("a configuration");
    let _ = Api::<ValidatingWebhookConfiguration>::all(client.clone()).create(&how, &judging).await;
    let writing = serde_json::from_value(hook::writing(closed)).expect("a configuration");
    let taken = Api::<MutatingWebhookConfiguration>::all(client.clone()).create(&how, &writing).await;
    let there = match taken {
        Ok(_) => true,
        Err(kube::Error::Api(status)) => status.reason == "AlreadyExists",
        Err(_) => false,
    };
    closed && there
}

/// Creates the pods that are not there.
async fn create(world: &mut World, client: &Client) {
    let pods = Api::<Pod>::default_namespaced(client.clone());
    for name in PODS {
        let restarts = lock(&world.referee).restartable.contains(&format!("{name}/app"));
        let resources = size(&world.dice, false);
        let mut container = json!({
            "name": "app", "image": "registry.example/app:1", "resources": resources,
            "resizePolicy": [{"resourceName": "memory", "restartPolicy": if restarts { "RestartContainer" } else { "NotRequired" }}],
        });
        if !restarts {
            container.as_object_mut().expect("it was made an object").remove("resizePolicy");
        }
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": name, "annotations": {
                "supple.dev/usage-pattern": format!("cpu=50m memory={} noise=0", HELD.0),
            }},
            "spec": {"containers": [container], "terminationGracePeriodSeconds": 1},
        }))
        .expect("a pod");
        if pods.create(&PostParams::default(), &pod).await.is_ok() {
            world.note(format!("created {name}: {resources}"));
            lock(&world.referee).deleted.remove(name);
            world.acknowledged.insert(name.to_owned(), (resources, Vec::new()));
            if world.marks {
                world.marked.insert(name.to_owned());
            }
        }
    }
}

/// A size to ask for: sometimes more than the node has, sometimes less memory than is held.
fn size(dice: &Dice, resize: bool) -> Value {
    let cpu = *dice.pick("cpu", &["100m", "200m", "500m", "900m", "1500m"]);
    let memory = *dice.pick("memory", &["128Mi", "256Mi", "512Mi", "1Gi"]);
    let (cpu, memory) = match dice.roll("extreme", 12) {
        0 if resize => (cpu, "50Mi"),
        1 if resize => ("3", memory),
        _ => (cpu, memory),
    };
    let limit = |text: &str| text.to_owned();
    json!({"requests": {"cpu": cpu, "memory": memory}, "limits": {"cpu": "4", "memory": limit(memory)}})
}

/// One thing that somebody does.
async fn act(world: &mut World, client: &Client, life: &Arc<Life>) {
    let pods = Api::<Pod>::default_namespaced(client.clone());
    let name = *world.dice.pick("which", &PODS);
    match world.dice.roll("act", 20) {
        0 => {
            let seconds = i64::try_from(world.dice.roll("jump", 7200)).unwrap_or(0) - 3600;
            world.note(format!("the clock jumps by {seconds} s"));
            TALLY.count("clock", "jumped");
            world.jump(seconds);
        }
        1 => {
            lock(&world.referee).deleted.insert(name.to_owned());
            world.note(format!("delete {name}"));
            world.acknowledged.remove(name);
            world.marked.remove(name);
            let _ = pods.delete(name, &DeleteParams::default()).await;
        }
        2 => create(world, client).await,
        4 => {
            // Requests of all it may use, of both: that would be Guaranteed, and a pod's class is never changed.
            let same = json!({"cpu": *world.dice.pick("cpu", &["200m", "500m"]), "memory": "256Mi"});
            let resources = json!({"requests": same, "limits": same});
            world.note(format!("resize {name} to another QoS class: {resources}"));
            let patch = json!({"spec": {"containers": [{"name": "app", "resources": resources}]}});
            let asked = pods.patch_resize(name, &PatchParams::default(), &Patch::Strategic(patch)).await;
            if asked.is_ok() {
                lock(&world.referee).broken.push(format!("{name}: its QoS class was changed"));
            }
        }
        3 => {
            // A process that ends by itself, or is killed by somebody.
            for found in world.runtime.recover().await.unwrap_or_default() {
                if found.pod.name == name
                    && let Some((id, _)) = found.containers.first()
                {
                    world.note(format!("{name}/app dies"));
                    let _ = world.runtime.stop_container(id, Duration::ZERO).await;
                }
            }
        }
        _ => {
            let resources = size(&world.dice, true);
            world.note(format!("resize {name}: {resources}"));
            // Before it is sent: it may die while the answer is awaited, and the server may have taken it all the same.
            if let Some((_, unanswered)) = world.acknowledged.get_mut(name) {
                unanswered.push(resources.clone());
            }
            let patch = json!({"spec": {"containers": [{"name": "app", "resources": resources}]}});
            let asked = pods.patch_resize(name, &PatchParams::default(), &Patch::Strategic(patch)).await;
            if asked.is_ok()
                && !life.is_dead()
                && let Some(acknowledged) = world.acknowledged.get_mut(name)
            {
                *acknowledged = (resources, Vec::new());
            }
        }
    }
}

/// All pods.
pub async fn pods(client: &Client) -> Result<Vec<Pod>, String> {
    let pods = Api::<Pod>::default_namespaced(client.clone()).list(&ListParams::default()).await;
    pods.map(|list| list.items).map_err(|error| format!("pods cannot be listed: {error}"))
}
