//! Asking the container runtime what it is, once, before anything is made.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use tonic::{Code, Status};

use super::call::Calls;
use super::error as cri;
use super::layout::Driver;
use super::options::{CriRequest, NewError, PodNetwork};
use super::proto::{self, RuntimeConfigRequest, StatusRequest, VersionRequest};

/// What it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probed {
    /// `containerd`, `cri-o`.
    pub name: String,
    /// Its version, as it writes it.
    pub version: String,
    /// Who makes its cgroups.
    pub driver: Driver,
}

/// Ask.
///
/// # Errors
/// [`NewError`]: nobody is there, it speaks another version, or says that it is not ready.
pub async fn probe(calls: &Calls, request: &CriRequest) -> Result<Probed, NewError> {
    let socket = &request.socket;
    // What the system says of a socket is clearer than what is left of it in a failed call.
    let absent = |source| NewError::Absent { socket: socket.clone(), source };
    tokio::net::UnixStream::connect(socket).await.map(drop).map_err(absent)?;
    let unwell = |question| {
        move |status: Status| NewError::Unwell { socket: socket.clone(), question, message: cri::words(&status) }
    };
    let version = match version(calls).await {
        Ok(version) => version,
        Err(status) if status.code() == Code::Unimplemented => {
            return Err(NewError::NotV1 { socket: socket.clone(), message: status.message().to_owned() });
        }
        Err(status) => return Err(unwell("version")(status)),
    };
    let status = calls.status(StatusRequest { verbose: true }).await.map_err(unwell("status"))?;
    let conditions = status.status.map(|it| it.conditions).unwrap_or_default();
    for needed in needed(request.network) {
        if let Some(it) = conditions.iter().find(|it| it.r#type == *needed && !it.status) {
            let message = [it.reason.as_str(), it.message.as_str()].join(": ");
            return Err(NewError::NotReady { socket: socket.clone(), condition: it.r#type.clone(), message });
        }
    }
    let driver = match calls.runtime_config(RuntimeConfigRequest {}).await {
        Ok(config) => match config.linux.map(|it| it.cgroup_driver()) {
            Some(proto::CgroupDriver::Systemd) => Driver::Systemd,
            Some(proto::CgroupDriver::Cgroupfs) | None => Driver::Cgroupfs,
        },
        Err(status_) if status_.code() == Code::Unimplemented => configured_driver(&status.info),
        Err(status) => return Err(unwell("configuration")(status)),
    };
    Ok(Probed { name: version.runtime_name, version: version.runtime_version, driver })
}

/// It may have been started a moment ago, and listens before it can answer.
async fn version(calls: &Calls) -> Result<proto::VersionResponse, Status> {
    let mut pauses = WHILE_IT_STARTS.into_iter();
    loop {
        let answer = calls.version(VersionRequest { version: "v1".to_owned() }).await;
        let starting = answer.as_ref().err().is_some_and(|it| it.message().contains("not initialized yet"));
        match pauses.next() {
            Some(pause) if starting => tokio::time::sleep(pause).await,
            _ => return answer,
        }
    }
}

/// Together longer than it takes.
const WHILE_IT_STARTS: [Duration; 6] = [
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_millis(600),
    Duration::from_secs(2),
    Duration::from_secs(7),
];

/// Pods in the machine's own network need none of the runtime's.
fn needed(network: PodNetwork) -> &'static [&'static str] {
    match network {
        PodNetwork::Host => &["RuntimeReady"],
        PodNetwork::Cni => &["RuntimeReady", "NetworkReady"],
    }
}

/// The driver as containerd before 2.0 tells it: in the configuration that comes with a verbose status.
fn configured_driver(info: &BTreeMap<String, String>) -> Driver {
    let config = info.get("config").and_then(|text| serde_json::from_str::<Value>(text).ok()).unwrap_or_default();
    let containerd = &config["containerd"];
    let default = containerd["defaultRuntimeName"].as_str().unwrap_or("runc");
    match &containerd["runtimes"][default]["options"]["SystemdCgroup"] {
        Value::Bool(true) => Driver::Systemd,
        _ => Driver::Cgroupfs,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(config: &str, expect: Driver) {
        let info = BTreeMap::from([("config".to_owned(), config.to_owned())]);
        assert_eq!(configured_driver(&info), expect, "{config}");
    }

    #[test]
    fn the_driver_is_found_in_containerds_configuration() {
        let config = |options: &str| {
            format!(r#"{{"containerd":{{"defaultRuntimeName":"runc","runtimes":{{"runc":{{"options":{options}}}}}}}}}"#)
        };
        check(&config(r#"{"SystemdCgroup":true}"#), Driver::Systemd);
        check(&config(r#"{"SystemdCgroup":false}"#), Driver::Cgroupfs);
        check(&config("{}"), Driver::Cgroupfs);
        check(&config("null"), Driver::Cgroupfs);
        check("no JSON", Driver::Cgroupfs);
        assert_eq!(configured_driver(&BTreeMap::new()), Driver::Cgroupfs);
    }
}
