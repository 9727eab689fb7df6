//! A disk that fails a write and then cannot be asked what it has kept of it: until it answers, every write is refused,
//! also one that would change nothing; when it does, what was refused is not there.

use std::io::{Error, Result};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use redb::StorageBackend;
use serde_json::{Value, json};
use supple_apiserver::{Options, Storage};

use crate::harness::{Harness, MERGE, Reply};

const MAPS: &str = "/api/v1/namespaces/n/configmaps";

/// It keeps what is written, and while it is down says that it does not, and cannot be opened.
#[derive(Clone, Debug, Default)]
struct Disk {
    bytes: Arc<Mutex<Vec<u8>>>,
    down: Arc<AtomicBool>,
}

impl Disk {
    fn answer(&self) -> Result<()> {
        if self.down.load(Ordering::SeqCst) { Err(Error::other("the disk does not answer")) } else { Ok(()) }
    }

    async fn server(&self) -> Harness {
        let disk = self.clone();
        let open = Arc::new(move |builder: &redb::Builder| {
            disk.answer().map_err(redb::StorageError::from)?;
            builder.create_with_backend(disk.clone())
        });
        Harness::with(Options { storage: Storage::Given(open), ..Options::in_memory() }).await
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> Result<u64> {
        Ok(self.bytes.lock().unwrap().len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        let from = usize::try_from(offset).unwrap();
        out.copy_from_slice(&self.bytes.lock().unwrap()[from..from + out.len()]);
        Ok(())
    }

    fn set_len(&self, len: u64) -> Result<()> {
        self.bytes.lock().unwrap().resize(usize::try_from(len).unwrap(), 0);
        Ok(())
    }

    fn sync_data(&self) -> Result<()> {
        self.answer()
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<()> {
        let from = usize::try_from(offset).unwrap();
        self.bytes.lock().unwrap()[from..from + data.len()].copy_from_slice(data);
        Ok(())
    }
}

/// It is answered, and that it was not taken.
#[track_caller]
fn refused(reply: std::result::Result<Reply, tokio::time::error::Elapsed>) {
    let reply = reply.expect("an answer comes although the disk does not");
    assert_eq!(reply.code, 500, "{}", reply.text);
    assert!(reply.message().contains("the write was not taken"), "{}", reply.text);
}

async fn soon(reply: impl Future<Output = Reply>) -> std::result::Result<Reply, tokio::time::error::Elapsed> {
    tokio::time::timeout(Duration::from_secs(60), reply).await
}

#[tokio::test]
async fn what_changes_nothing_is_refused_as_what_does() {
    let disk = Disk::default();
    let it = disk.server().await;
    let path = format!("{MAPS}/m");
    let data = |n: &str| json!({"data": {"n": n}});
    it.post(MAPS, json!({"metadata": {"name": "m", "finalizers": ["x.example/keep"]}, "data": {"n": "1"}}))
        .await
        .expect(201);
    it.delete(&path).await.expect(200);

    disk.down.store(true, Ordering::SeqCst);
    refused(soon(it.patch(&path, MERGE, data("2"))).await);
    refused(soon(it.patch(&path, MERGE, data("1"))).await);
    refused(soon(it.delete(&path)).await);
    assert_eq!(it.get(&path).await.expect(200)["data"]["n"], "1", "reading goes on");

    disk.down.store(false, Ordering::SeqCst);
    let same: Value = it.patch(&path, MERGE, data("1")).await.expect(200);
    assert_eq!(same["data"]["n"], "1");
    drop(it);
    let it = disk.server().await;
    assert_eq!(it.get(&path).await.expect(200)["data"]["n"], "1", "what was refused is not there after a restart");
}
