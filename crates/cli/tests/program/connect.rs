//! How a cluster is found and reached: several kubeconfigs, and proxies.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::cluster::{SUPPLE, Up};

/// Who makes connections for others, and how many it has made. It ends with the process.
struct Proxy {
    url: String,
    made: Arc<AtomicUsize>,
}

impl Proxy {
    /// One that is asked in this way for the address to connect to, and says so when it has.
    fn new(scheme: &str, ask: fn(&mut TcpStream) -> Option<String>, granted: &'static [u8]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("{scheme}://{}", listener.local_addr().unwrap());
        let made = Arc::<AtomicUsize>::default();
        let counted = made.clone();
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (mut client, counted) = (client.unwrap(), counted.clone());
                std::thread::spawn(move || {
                    let Some(address) = ask(&mut client) else { return };
                    let Ok(server) = TcpStream::connect(address) else { return };
                    counted.fetch_add(1, Ordering::SeqCst);
                    let _ = client.write_all(granted); // who asked may have gone
                    let back = (server.try_clone().unwrap(), client.try_clone().unwrap());
                    std::thread::spawn(move || pass_on(back.0, back.1));
                    pass_on(client, server);
                });
            }
        });
        Self { url, made }
    }

    fn http() -> Self {
        let ask = |client: &mut TcpStream| {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                client.read_exact(&mut byte).ok()?;
                head.extend(byte);
            }
            let head = String::from_utf8(head).ok()?;
            Some(head.strip_prefix("CONNECT ")?.split(' ').next()?.to_owned())
        };
        Self::new("http", ask, b"HTTP/1.1 200 OK\r\n\r\n")
    }

    /// RFC 1928, as much of it as a client without a password uses for an IPv4 address.
    fn socks() -> Self {
        let ask = |client: &mut TcpStream| {
            let mut greeting = [0; 2];
            client.read_exact(&mut greeting).ok()?;
            let mut methods = vec![0; usize::from(greeting[1])];
            client.read_exact(&mut methods).ok()?;
            client.write_all(&[5, 0]).ok()?;
            let mut request = [0; 10];
            client.read_exact(&mut request).ok()?;
            let [5, 1, _, 1, a, b, c, d, high, low] = request else { return None };
            Some(format!("{a}.{b}.{c}.{d}:{}", u16::from_be_bytes([high, low])))
        };
        Self::new("socks5", ask, &[5, 0, 0, 1, 0, 0, 0, 0, 0, 0])
    }

    fn made(&self) -> usize {
        self.made.load(Ordering::SeqCst)
    }
}

fn pass_on(mut from: TcpStream, mut to: TcpStream) {
    let _ = std::io::copy(&mut from, &mut to); // either may hang up at any time
    let _ = to.shutdown(Shutdown::Write);
}

/// What `supple doctor` says with this environment, and no other that says how to reach a cluster.
fn doctor(env: &[(&str, &str)]) -> Output {
    let mut command = Command::new(SUPPLE);
    for name in ["HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "ALL_PROXY"] {
        command.env_remove(name).env_remove(name.to_lowercase());
    }
    command.arg("doctor").envs(env.iter().copied()).output().unwrap()
}

#[test]
fn a_cluster_is_reached_through_a_proxy() {
    let up = Up::new("simulated");
    let kubeconfig = up.kubeconfig();
    let kubeconfig = ("KUBECONFIG", kubeconfig.to_str().unwrap());
    let direct = doctor(&[kubeconfig]);
    assert!(String::from_utf8_lossy(&direct.stdout).contains("pods/resize"), "{direct:?}");
    for proxy in [Proxy::http(), Proxy::socks()] {
        let by_proxy = ("HTTPS_PROXY", proxy.url.as_str());
        assert_eq!(doctor(&[kubeconfig, by_proxy]), direct);
        assert!(proxy.made() > 0, "{} was not asked", proxy.url);
        let before = proxy.made();
        assert_eq!(doctor(&[kubeconfig, by_proxy, ("NO_PROXY", "127.0.0.1")]), direct);
        assert_eq!(proxy.made(), before, "NO_PROXY says to leave it out");
    }
    up.stop();
}

#[test]
fn a_kubeconfig_that_is_not_there_is_passed_over_where_another_is() {
    let up = Up::new("simulated");
    let (there, missing) = (up.kubeconfig(), up.data_dir.join("missing"));
    let both = std::env::join_paths([&missing, &there, &missing]).unwrap();
    let found = doctor(&[("KUBECONFIG", both.to_str().unwrap())]);
    assert_eq!(found, doctor(&[("KUBECONFIG", there.to_str().unwrap())]));
    let none = doctor(&[("KUBECONFIG", missing.to_str().unwrap())]);
    assert_eq!(none.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&none.stderr).contains("missing"), "it is named: {none:?}");
    up.stop();
}
