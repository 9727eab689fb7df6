//! Probes and metrics over a socket, and what happens to those who ask badly.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use supple_controller::metrics::Metrics;
use supple_controller::serve::health::Health;
use supple_controller::serve::{Bounds, endpoints, serve};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

struct Server {
    address: std::net::SocketAddr,
    health: Health,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

async fn server(bounds: Bounds) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let health = Health::new(Duration::from_secs(60), &["usage"]);
    let metrics = endpoints::metrics(Metrics::default(), Arc::new(|| Timestamp::UNIX_EPOCH));
    let router = endpoints::probes(health.clone()).merge(metrics);
    let stop = CancellationToken::new();
    let task = tokio::spawn(serve(listener, None, router, bounds, stop.clone()));
    Server { address, health, stop, task }
}

impl Server {
    /// Everything that is said to these bytes, until the end.
    async fn say(&self, text: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).await.unwrap();
        said
    }

    async fn get(&self, path: &str) -> String {
        self.say(&format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")).await
    }

    async fn end(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }
}

#[tokio::test]
async fn probes_say_why() {
    let server = server(Bounds::default()).await;
    let said = server.get("/readyz").await;
    assert!(said.starts_with("HTTP/1.1 503") && said.contains("[-]usage not ready: not yet\nnot ready\n"), "{said}");
    server.health.set("usage", Ok(()));
    let said = server.get("/readyz").await;
    assert!(said.starts_with("HTTP/1.1 200") && said.contains("[+]usage ok\nready\n"), "{said}");
    assert!(server.get("/livez").await.contains("\r\n\r\nok\n"));
    let said = server.get("/metrics").await;
    assert!(
        said.contains("content-type: text/plain; version=0.0.4") && said.contains("supple_build_info{version="),
        "{said}"
    );
    assert!(server.get("/nothing").await.starts_with("HTTP/1.1 404"));
    server.end().await;
}

#[tokio::test]
async fn whoever_says_nothing_is_hung_up_on_and_gives_up_its_place() {
    let usual = Bounds::default();
    let listener =
        supple_listener::Bounds { connections: Some(1), silence: Duration::from_millis(200), ..usual.listener };
    let bounds = Bounds { listener, ..usual };
    let server = server(bounds).await;
    let silent = TcpStream::connect(server.address).await.unwrap();
    assert!(server.get("/livez").await.contains("ok\n"), "it comes when the place is free");
    drop(silent);
    server.end().await;
}

#[tokio::test]
async fn an_end_does_not_wait_for_ever() {
    let usual = Bounds::default();
    let listener = supple_listener::Bounds { drain: Duration::from_millis(100), ..usual.listener };
    let server = server(Bounds { listener, ..usual }).await;
    let _silent = TcpStream::connect(server.address).await.unwrap();
    assert!(server.get("/livez").await.contains("ok\n"));
    server.end().await;
}
