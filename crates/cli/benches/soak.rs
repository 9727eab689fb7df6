//! Half an hour of everything: 200 process pods, a resize each 100 ms, processes killed, pods replaced, and the program
//! itself killed and started again. What it holds (memory, descriptors, threads, cgroups, processes) is printed as it
//! goes, and the run fails where any of it grows or something is left at the end.
//!
//! What grows up to a bound is not a leak: watchers' history is full after some minutes, so growth is looked for in the
//! second half of the last and longest life; events live for an hour, longer than the run, so they are deleted each minute.
//!
//! `cargo bench -p supple --bench soak -- [--minutes 30] [--pods 200] [--seed 1] [--program PATH]`; without a path it is the
//! program that was built with this.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{Event, Pod};
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::{Value, json};

/// Between two readings.
const LOOK: Duration = Duration::from_secs(10);
/// How long anything that must happen may take.
const PATIENCE: Duration = Duration::from_secs(180);
/// Between two deletions of all events.
const FORGET: Duration = Duration::from_secs(60);
/// The program is killed and started again after a sixth of the run, and after another; the rest is one life.
const DEATHS: u32 = 2;
/// See [`DEATHS`].
const SHORT_LIFE: u32 = 6;

/// What the program holds at a moment.
#[derive(Clone, Copy, Debug)]
struct Held {
    memory_kib: usize,
    descriptors: usize,
    threads: usize,
    cgroups: usize,
    processes: usize,
}

/// The program, and where it keeps its things.
struct Program {
    path: PathBuf,
    child: Child,
    data_dir: PathBuf,
}

impl Program {
    fn start(path: &Path, data_dir: &Path) -> Self {
        let mut child = Command::new(path)
            .args(["up", "--no-loop", "--runtime", "process", "--listen", "127.0.0.1:0", "--node-name", "soak"])
            .args(["--node-capacity", "cpu=1000,memory=1Ti,pods=1000", "--data-dir"])
            .arg(data_dir)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program can be started");
        let stdout = child.stdout.take().expect("it was piped");
        // It announces itself in a paragraph; the rest goes nowhere.
        let mut lines = BufReader::new(stdout).lines();
        let up = lines.by_ref().any(|line| line.is_ok_and(|line| line.trim().is_empty()));
        assert!(up, "it ended before it was up");
        std::thread::spawn(move || lines.for_each(drop));
        Self { path: path.to_owned(), child, data_dir: data_dir.to_owned() }
    }

    async fn client(&self) -> kube::Client {
        let config = Kubeconfig::read_from(self.data_dir.join("kubeconfig")).expect("it writes a kubeconfig");
        let config = kube::Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await;
        kube::Client::try_from(config.expect("it is whole")).expect("a client can be made")
    }

    /// Its cgroups, in whichever hierarchy it has most of them.
    fn cgroups(&self) -> Vec<PathBuf> {
        let name = std::fs::read_to_string(self.data_dir.join("node/cgroup")).unwrap_or_default();
        let name = name.trim_end().rsplit('/').next().unwrap_or_default();
        let roots = ["memory", "cpu", "cpu,cpuacct", ""].map(|it| Path::new("/sys/fs/cgroup").join(it).join(name));
        roots.iter().filter(|_| !name.is_empty()).map(|root| below(root)).max_by_key(Vec::len).unwrap_or_default()
    }

    fn held(&self) -> Held {
        let proc = PathBuf::from(format!("/proc/{}", self.child.id()));
        let status = std::fs::read_to_string(proc.join("status")).unwrap_or_default();
        let memory =
            status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse().ok());
        let count = |part: &str| std::fs::read_dir(proc.join(part)).map_or(0, Iterator::count);
        let cgroups = self.cgroups();
        Held {
            memory_kib: memory.unwrap_or(0),
            descriptors: count("fd"),
            threads: count("task"),
            cgroups: cgroups.len(),
            processes: cgroups.iter().map(|group| processes(group).len()).sum(),
        }
    }

    fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.child.id().to_string()]).status();
        assert!(sent.is_ok_and(|status| status.success()), "the program has ended by itself");
    }
}

fn below(root: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(root) else { return Vec::new() };
    let directories = entries.flatten().filter(|it| it.file_type().is_ok_and(|kind| kind.is_dir()));
    let mut found: Vec<PathBuf> = directories.flat_map(|it| below(&it.path())).collect();
    found.push(root.to_owned());
    found
}

fn processes(group: &Path) -> Vec<String> {
    let listed = std::fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    listed.lines().map(str::to_owned).collect()
}

/// What happens next: a function of the seed alone.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: usize) -> usize {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((x ^ (x >> 31)) % limit.max(1) as u64).expect("below a limit that is one")
    }
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |flag: &str, usual: u64| {
        let given = args.iter().position(|it| it == flag).and_then(|at| args.get(at + 1));
        given.map_or(usual, |text| text.parse().unwrap_or_else(|_| panic!("{flag} takes a number, not {text:?}")))
    };
    let pods = usize::try_from(number("--pods", 200)).expect("a number of pods");
    let length = Duration::from_secs(60 * number("--minutes", 30));
    let chance = Chance(number("--seed", 1));
    let given = args.iter().position(|it| it == "--program").and_then(|at| args.get(at + 1));
    let path = PathBuf::from(given.map_or(env!("CARGO_BIN_EXE_supple"), String::as_str));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    runtime.expect("a runtime can be made").block_on(soak(&path, pods, length, chance))
}

/// How often what happened.
#[derive(Debug, Default)]
struct Tally {
    resizes: usize,
    refused: usize,
    deaths: usize,
    replaced: usize,
}

async fn soak(path: &Path, pods: usize, length: Duration, mut chance: Chance) -> ExitCode {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let data = dir.path().join("data");
    let mut program = Program::start(path, &data);
    let mut api = Api::<Pod>::default_namespaced(program.client().await);
    for n in 0..pods {
        create(&api, n).await;
    }
    let settled = settle(&api, &program, pods).await;
    println!("{pods} pods run: {settled:?}");

    let (began, mut born, mut looked) = (Instant::now(), Instant::now(), Instant::now());
    let (mut deaths, mut forgot) = (0, Instant::now());
    let mut tick = tokio::time::interval(Duration::from_millis(100));
    let mut tally = Tally::default();
    let mut readings: Vec<(Duration, Held)> = Vec::new();
    while began.elapsed() < length {
        tick.tick().await;
        act(&api, &program, pods, &mut chance, &mut tally).await;
        if deaths < DEATHS && born.elapsed() > length / SHORT_LIFE {
            program.signal("-9");
            let _ = program.child.wait();
            program = Program::start(&program.path, &data);
            api = Api::default_namespaced(program.client().await);
            born = Instant::now();
            deaths += 1;
            readings.clear();
        }
        if forgot.elapsed() > FORGET {
            forgot = Instant::now();
            let events = Api::<Event>::default_namespaced(api.clone().into_client());
            events.delete_collection(&DeleteParams::default(), &ListParams::default()).await.expect("events can go");
        }
        if looked.elapsed() > LOOK {
            looked = Instant::now();
            let held = program.held();
            readings.push((born.elapsed(), held));
            println!("{:>5} s: {held:?} {tally:?}", began.elapsed().as_secs());
        }
    }
    let end = settle(&api, &program, pods).await;
    println!("after {} s: {end:?} {tally:?}", began.elapsed().as_secs());

    let mut wrong = grown(&readings, length - length / SHORT_LIFE * DEATHS);
    if (end.cgroups, end.processes) != (settled.cgroups, settled.processes) {
        wrong.push(format!("there were {} cgroups and {} processes", settled.cgroups, settled.processes));
    }
    let groups: BTreeSet<PathBuf> = program.cgroups().into_iter().collect();
    program.signal("-TERM");
    let _ = program.child.wait();
    let left: Vec<_> = groups.into_iter().filter(|group| group.exists()).collect();
    if !left.is_empty() {
        wrong.push(format!("{} cgroups are left, the first is {}", left.len(), left[0].display()));
    }
    if wrong.is_empty() {
        println!("nothing grew, nothing is left");
        return ExitCode::SUCCESS;
    }
    println!("{}", wrong.join("\n"));
    ExitCode::FAILURE
}

/// A resize; now and then a death; now and then a pod that is replaced.
async fn act(api: &Api<Pod>, program: &Program, pods: usize, chance: &mut Chance, tally: &mut Tally) {
    let resized = name(chance.below(pods));
    let (cpu, memory) = (10 + 10 * chance.below(20), 16 + 16 * chance.below(8));
    let resources = json!({
        "requests": {"cpu": format!("{cpu}m"), "memory": format!("{memory}Mi")},
        "limits": {"cpu": format!("{}m", cpu * 2), "memory": format!("{}Mi", memory * 2)},
    });
    let patch = json!({"spec": {"containers": [{"name": "app", "resources": resources}]}});
    match api.patch_resize(&resized, &PatchParams::default(), &Patch::Strategic(patch)).await {
        Ok(_) => tally.resizes += 1,
        Err(_) => tally.refused += 1,
    }
    if chance.below(10) == 0 {
        let groups = program.cgroups();
        let victims = groups.get(chance.below(groups.len())).map(|group| processes(group)).unwrap_or_default();
        if let Some(pid) = victims.get(chance.below(victims.len())) {
            // It may have ended at this very moment.
            let _ = Command::new("kill").args(["-9", pid]).stderr(Stdio::null()).status();
            tally.deaths += 1;
        }
    }
    if chance.below(100) == 0 {
        let n = chance.below(pods);
        if api.delete(&name(n), &DeleteParams::default().grace_period(0)).await.is_ok() {
            let name = name(n);
            let gone = kube::runtime::wait::await_condition(api.clone(), &name, |pod: Option<&Pod>| pod.is_none());
            let gone = tokio::time::timeout(PATIENCE, gone).await;
            assert!(gone.is_ok(), "{name} does not go");
            create(api, n).await;
            tally.replaced += 1;
        }
    }
}

/// What grew in the last life: the middle reading of its last quarter against that of the quarter before.
fn grown(readings: &[(Duration, Held)], life: Duration) -> Vec<String> {
    let middle = |quarter: u32, of: fn(&Held) -> usize| {
        let within = |age: &Duration| *age >= life / 4 * (quarter - 1) && *age < life / 4 * quarter;
        let mut found: Vec<usize> = readings.iter().filter(|(age, _)| within(age)).map(|(_, it)| of(it)).collect();
        found.sort_unstable();
        found.get(found.len() / 2).copied()
    };
    let mut grown = Vec::new();
    let mut compare = |what: &str, slack: usize, of: fn(&Held) -> usize| {
        let (Some(early), Some(late)) = (middle(3, of), middle(4, of)) else { return };
        println!("{what}: {early} in the third quarter of the last life, {late} in the last");
        // What happens to be under way.
        if late > early + early / 50 + slack {
            grown.push(format!("{what} grew from {early} to {late}"));
        }
    };
    compare("KiB of memory", 4096, |it| it.memory_kib);
    compare("descriptors", 40, |it| it.descriptors);
    compare("threads", 8, |it| it.threads);
    grown
}

fn name(n: usize) -> String {
    format!("p{n}")
}

async fn create(api: &Api<Pod>, n: usize) {
    let pod = json!({
        "metadata": {"name": name(n)},
        "spec": {"terminationGracePeriodSeconds": 0, "containers": [{
            "name": "app", "image": "none", "command": ["sleep", "100000"],
            "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"cpu": "100m", "memory": "128Mi"}},
        }]},
    });
    let pod: Pod = serde_json::from_value(pod).expect("it is a pod");
    api.create(&PostParams::default(), &pod).await.expect("the pod is taken");
}

/// Wait until every pod runs with what it was last asked to have; what is held then.
async fn settle(api: &Api<Pod>, program: &Program, pods: usize) -> Held {
    // A container that was killed often waits for up to five minutes.
    let end = Instant::now() + PATIENCE * 3;
    loop {
        let listed = api.list(&ListParams::default()).await.expect("pods can be listed").items;
        let unsettled: Vec<String> = listed.iter().filter_map(unsettled).collect();
        if unsettled.is_empty() && listed.len() == pods {
            return program.held();
        }
        assert!(Instant::now() < end, "{} of {} pods do not settle: {unsettled:#?}", unsettled.len(), listed.len());
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Why a pod is not where it is to be.
fn unsettled(pod: &Pod) -> Option<String> {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let value = serde_json::to_value(pod).unwrap_or(Value::Null);
    let status = &value["status"]["containerStatuses"][0];
    let wanted = &value["spec"]["containers"][0]["resources"];
    if status["state"]["running"].is_null() {
        return Some(format!("{name}: {}", status["state"]));
    }
    (status["resources"] != *wanted).then(|| format!("{name}: has {}, wants {wanted}", status["resources"]))
}
