//! Answers of a container runtime: whatever it says, in whatever order, costs no more than an error. What a start finds
//! with it, and the life of a pod, over the real protocol on a socket.
//!
//! Needs cgroups that may be written, all below `/supple-fuzz-cri`; a pod's are made and removed again.

#![no_main]

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use bytes::{BufMut, BytesMut};
use http::{HeaderMap, HeaderValue, Request};
use http_body_util::{BodyExt, Full};
use libfuzzer_sys::fuzz_target;
use supple_node::cgroup::Group;
use supple_node::runtime::cri::{CriOptions, CriRequest, CriRuntime, PodNetwork};
use supple_node::runtime::{ContainerConfig, ContainerRef, PodConfig, PodRef, Runtime as _};
use supple_resize::kernel::CgroupResources;
use supple_resize::qos::QosClass;

const ROOT: &str = "supple-fuzz-cri";

/// What is left of the input; nothing is zeros.
#[derive(Default)]
struct Script(Vec<u8>);

impl Script {
    fn byte(&mut self) -> u8 {
        self.0.pop().unwrap_or_default()
    }

    fn bytes(&mut self) -> Vec<u8> {
        let length = usize::from(self.byte());
        (0..length).map_while(|_| self.0.pop()).collect()
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[usize::from(self.byte()) % choices.len()]
    }

    /// A message, by the numbers of the CRI: what a runtime might say, with names that meet.
    fn message(&mut self, method: &str) -> Message {
        let nothing = Message::default();
        match method {
            "Version" => nothing.text(1, "0.1.0").text(2, "fuzz").text(3, "1").text(4, "v1"),
            "RuntimeConfig" => nothing.message(1, Message::default().number(1, 1)),
            "RunPodSandbox" | "CreateContainer" => nothing.text(1, self.id()),
            "ListPodSandbox" => (0..self.byte() % 4).fold(nothing, |all, _| {
                let sandbox = Message::default().text(1, self.id()).message(2, self.metadata()).number(3, self.small());
                let sandbox = sandbox.number(4, self.large());
                all.message(1, self.labelled(sandbox, 5, 6))
            }),
            "PodSandboxStatus" => {
                let network = Message::default().text(1, self.of(&["", "10.0.0.1", "\u{0}"]));
                nothing.message(1, Message::default().text(1, self.id()).message(5, network))
            }
            "ListContainers" => (0..self.byte() % 4).fold(nothing, |all, _| {
                let metadata = self.metadata_of_container();
                let container = Message::default().text(1, self.id()).text(2, self.id()).message(3, metadata);
                let container = container.number(6, self.small()).number(7, self.large());
                all.message(1, self.labelled(container, 8, 9))
            }),
            "ContainerStatus" => {
                let metadata = self.metadata_of_container();
                let status = Message::default().text(1, self.id()).message(2, metadata).number(3, self.small());
                let status = (4..8).fold(status, |status, number| status.number(number, self.large()));
                let linux = (1..6).fold(Message::default(), |linux, number| linux.number(number, self.large()));
                let status =
                    status.text(10, self.of(&["", "OOMKilled"])).message(16, Message::default().message(1, linux));
                nothing.message(1, status)
            }
            "ListContainerStats" => (0..self.byte() % 4).fold(nothing, |all, _| {
                let value = |number| Message::default().number(1, number);
                let cpu = Message::default().message(2, value(self.large()));
                let memory = Message::default().message(2, value(self.large())).message(4, value(self.large()));
                let of = Message::default().text(1, self.id());
                all.message(1, Message::default().message(1, of).message(2, cpu).message(3, memory))
            }),
            "ImageStatus" if self.byte().is_multiple_of(2) => nothing.message(1, Message::default().text(1, "i")),
            "GetContainerEvents" => nothing.text(1, self.id()).number(2, self.small()),
            _ => nothing,
        }
    }

    fn id(&mut self) -> &'static str {
        self.of(&["a", "b", "", "../a"])
    }

    fn metadata(&mut self) -> Message {
        Message::default().text(1, "p").text(2, self.of(&["uid", "other", ".."])).number(4, self.large())
    }

    fn metadata_of_container(&mut self) -> Message {
        Message::default().text(1, self.of(&["c", "d", "../../c", ""])).number(2, self.of(&[0, 1, u64::MAX]))
    }

    fn labelled(&mut self, message: Message, labels: u64, annotations: u64) -> Message {
        let uid = self.of(&["uid", "other", "../../uid", ""]);
        let root = self.of(&[ROOT, ROOT, ROOT, "another"]);
        let named = [
            ("supple.dev/node-root", root),
            ("io.kubernetes.pod.uid", uid),
            ("io.kubernetes.pod.namespace", "default"),
        ];
        let message = named.into_iter().fold(message, |message, (key, value)| message.entry(labels, key, value));
        let message = match self.byte() % 8 {
            7 => message,
            _ => message.entry(labels, "io.kubernetes.pod.name", "p"),
        };
        message.entry(annotations, "supple.dev/qos-class", self.of(&["Burstable", "Guaranteed", "BestEffort", "x"]))
    }

    fn small(&mut self) -> u64 {
        u64::from(self.byte() % 6)
    }

    fn large(&mut self) -> u64 {
        match self.byte() {
            0 => 0,
            1 => u64::MAX,
            2 => i64::MAX.cast_unsigned(),
            3 => i64::MIN.cast_unsigned(),
            other => 1_u64.rotate_left(u32::from(other)) | u64::from(self.byte()),
        }
    }

    /// The answer to a call: seldom an error or no message at all.
    fn answer(&mut self, method: &str) -> Response {
        let (code, body) = match self.byte() {
            200.. => (usize::from(self.byte() % 17), Vec::new()),
            190..200 => (0, self.bytes()),
            _ => (0, self.message(method).0),
        };
        let mut framed = BytesMut::new();
        if code == 0 {
            framed.put_u8(0);
            framed.put_u32(u32::try_from(body.len()).expect("it is short"));
            framed.extend_from_slice(&body);
        }
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from(code));
        trailers.insert("grpc-message", HeaderValue::from_static("not implemented: oom_score_adj permission denied"));
        let body = Full::new(framed.freeze()).with_trailers(std::future::ready(Some(Ok(trailers))));
        Response::builder().header("content-type", "application/grpc").body(Body::new(body)).expect("a response")
    }
}

/// A message of protobuf, as far as it is written.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(u8::try_from(value & 0x7f).expect("seven bits") | 0x80);
            value >>= 7;
        }
        self.0.push(u8::try_from(value).expect("seven bits"));
    }

    fn number(mut self, field: u64, value: u64) -> Self {
        self.varint(field << 3);
        self.varint(value);
        self
    }

    fn bytes(mut self, field: u64, value: &[u8]) -> Self {
        self.varint(field << 3 | 2);
        self.varint(value.len() as u64);
        self.0.extend_from_slice(value);
        self
    }

    fn text(self, field: u64, value: &str) -> Self {
        self.bytes(field, value.as_bytes())
    }

    fn message(self, field: u64, value: Self) -> Self {
        self.bytes(field, &value.0)
    }

    fn entry(self, field: u64, key: &str, value: &str) -> Self {
        self.message(field, Self::default().text(1, key).text(2, value))
    }
}

/// The mount table without the hierarchies of version 1 that nobody needs here: to remove a cgroup takes the kernel long, in
/// each of them.
fn few_mounts(dir: &Path) -> PathBuf {
    let all = std::fs::read_to_string("/proc/self/mountinfo").expect("there is a mount table");
    let version_1 = |line: &&str| line.contains(" - cgroup ") && (line.contains("cpu") || line.contains("memory"));
    let mut kept: Vec<&str> = all.lines().filter(version_1).collect();
    if kept.is_empty() {
        kept = all.lines().filter(|line| line.contains(" - cgroup2 ")).collect();
    }
    let file = dir.join("mountinfo");
    std::fs::write(&file, kept.join("\n")).expect("a file can be written");
    file
}

struct Lab {
    script: Arc<Mutex<Script>>,
    cri: CriRuntime,
    runtime: tokio::runtime::Runtime,
}

impl Lab {
    fn new() -> Self {
        let dir = std::env::temp_dir().join(format!("{ROOT}-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("a directory can be made");
        // Time passes when there is nothing else to wait for: no deadline is waited for.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
        let runtime = runtime.expect("a runtime can be made");
        let script = Arc::<Mutex<Script>>::default();
        let told = script.clone();
        let serve = Router::new().fallback(move |request: Request<Body>| {
            let method = request.uri().path().rsplit('/').next().unwrap_or_default();
            std::future::ready(told.lock().expect("nobody panics with it").answer(method))
        });
        let cri = runtime.block_on(async {
            let socket = dir.join("socket");
            let _ = std::fs::remove_file(&socket);
            let listener = tokio::net::UnixListener::bind(&socket).expect("a socket can be bound");
            tokio::spawn(async { axum::serve(listener, serve).await });
            let request =
                CriRequest { network: PodNetwork::Cni, cgroup_root: Some(ROOT.into()), ..CriRequest::new(socket) };
            let mut options = CriOptions::new(request, dir.join("data"));
            options.mounts.mountinfo = few_mounts(&dir);
            CriRuntime::connect(options).await
        });
        Self { script, cri: cri.expect("cgroups may be written"), runtime }
    }

    /// What was found is ended, and a pod lives from its beginning to its end.
    async fn live(&self) {
        let resources = CgroupResources { memory_limit_bytes: Some(64 << 20), ..CgroupResources::default() };
        for found in self.cri.recover().await.unwrap_or_default() {
            assert!(Group::is_name(&found.pod.uid), "{found:?} has a directory outside of ours");
            let _ = (self.cri.usage(&found.pod).await, self.cri.read_pod(&found.pod).await);
            for (id, _) in &found.containers {
                let _ = (self.cri.update_container(id, &resources).await, self.cri.read_container(id).await);
                let _ = self.cri.stop_container(id, Duration::from_secs(1)).await;
                let _ = self.cri.remove_container(id).await;
            }
            self.end(&found.pod).await;
        }
        let pod = PodRef { uid: "uid".into(), namespace: "default".into(), name: "p".into() };
        let id = ContainerRef { pod: pod.clone(), container: "c".into(), attempt: 0 };
        let config = PodConfig::new(pod.clone(), QosClass::Burstable, resources);
        if self.cri.create_pod(&config).await.is_ok() {
            let container = ContainerConfig {
                id: id.clone(),
                image: "i".into(),
                command: Vec::new(),
                args: Vec::new(),
                env: Vec::new(),
                working_dir: None,
                resources,
                oom_score_adj: 0,
                annotations: Default::default(),
            };
            let _ = self.cri.check_image("i", None).await;
            let _ = self.cri.start_container(&container).await;
            let _ = self.cri.update_pod(&pod, &resources).await;
            let _ = (self.cri.usage(&pod).await, self.cri.container_id(&id), self.cri.pod_ip(&pod));
            let _ = self.cri.stop_container(&id, Duration::ZERO).await;
        }
        self.end(&pod).await;
    }

    async fn end(&self, pod: &PodRef) {
        // Not each time, for the same reason.
        if self.script.lock().expect("nobody panics with it").byte() % 8 == 7 {
            let _ = self.cri.remove_pod(pod).await;
        }
        let _ = self.cri.forget_pod(pod).await;
    }
}

thread_local! {
    static LAB: RefCell<Option<Lab>> = const { RefCell::new(None) };
}

fuzz_target!(|data: &[u8]| {
    LAB.with_borrow_mut(|lab| {
        let lab = lab.get_or_insert_with(Lab::new);
        lab.script.lock().expect("nobody panics with it").0 = data.iter().rev().copied().collect();
        lab.runtime.block_on(lab.live());
    });
});
