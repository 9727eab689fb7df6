//! Columns and cells of what is stored only: services, volume claims, role bindings.

use serde_json::Value;

use super::printers::{AGE, NAME, age, name};
use super::{Column, Printer};
use crate::tree::{at, items, number, text};

const NONE: &str = "<none>";

const SERVICE: &str = "api.core.v1.ServiceSpec";

/// Services.
pub static SERVICES: Printer = Printer {
    columns: &[
        NAME,
        Column::of("Type", SERVICE, "type"),
        Column::of("Cluster-IP", SERVICE, "clusterIP"),
        Column::of("External-IP", SERVICE, "externalIPs"),
        Column::of("Port(s)", SERVICE, "ports"),
        AGE,
        Column::of("Selector", SERVICE, "selector").wide(),
    ],
    cells: |it, now| {
        let labels: Vec<String> = at(it, "spec.selector")
            .as_object()
            .into_iter()
            .flatten()
            .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
            .collect();
        vec![
            name(it),
            text(it, "spec.type").into(),
            or_none(text(it, "spec.clusterIP")),
            external_address(it),
            ports(it),
            age(it, now),
            or_none(&labels.join(",")),
        ]
    },
    condition: None,
};

const CLAIM: &str = "api.core.v1.PersistentVolumeClaimSpec";
const CLAIM_STATUS: &str = "api.core.v1.PersistentVolumeClaimStatus";

/// Volume claims.
pub static VOLUME_CLAIMS: Printer = Printer {
    columns: &[
        NAME,
        Column::of("Status", CLAIM_STATUS, "phase"),
        Column::of("Volume", CLAIM, "volumeName"),
        Column::of("Capacity", CLAIM_STATUS, "capacity"),
        Column::of("Access Modes", CLAIM_STATUS, "accessModes"),
        Column::saying("StorageClass", "StorageClass of the pvc"),
        Column::saying("VolumeAttributesClass", "VolumeAttributesClass of the pvc"),
        AGE,
        Column::of("VolumeMode", CLAIM, "volumeMode").wide(),
    ],
    cells: |it, now| {
        let going = !at(it, "metadata.deletionTimestamp").is_null();
        let volume = text(it, "spec.volumeName");
        let bound = !volume.is_empty();
        let modes: Vec<&str> = items(it, "status.accessModes").iter().filter_map(Value::as_str).map(short).collect();
        vec![
            name(it),
            (if going { "Terminating" } else { text(it, "status.phase") }).into(),
            volume.into(),
            (if bound { text(it, "status.capacity.storage") } else { "" }).into(),
            (if bound { modes.join(",") } else { String::new() }).into(),
            text(it, "spec.storageClassName").into(),
            or(text(it, "spec.volumeAttributesClassName"), "<unset>"),
            age(it, now),
            or(text(it, "spec.volumeMode"), "<unset>"),
        ]
    },
    condition: None,
};

/// An access mode as people write it.
fn short(mode: &str) -> &str {
    match mode {
        "ReadWriteOnce" => "RWO",
        "ReadOnlyMany" => "ROX",
        "ReadWriteMany" => "RWX",
        "ReadWriteOncePod" => "RWOP",
        other => other,
    }
}

/// Bindings of roles in a namespace.
pub static ROLE_BINDINGS: Printer = Printer {
    columns: &[
        NAME,
        // As the reference printed it: in the words of an older schema than the field has today.
        Column::saying(
            "Role",
            "RoleRef can reference a Role in the current namespace or a ClusterRole in the global namespace. If the RoleRef \
             cannot be resolved, the Authorizer must return an error.",
        ),
        AGE,
        Column::saying("Users", "Users in the roleBinding").wide(),
        Column::saying("Groups", "Groups in the roleBinding").wide(),
        Column::saying("ServiceAccounts", "ServiceAccounts in the roleBinding").wide(),
    ],
    cells: binding,
    condition: None,
};

/// Bindings of roles in the cluster.
pub static CLUSTER_ROLE_BINDINGS: Printer = Printer {
    columns: &[
        NAME,
        Column::saying(
            "Role",
            "RoleRef can only reference a ClusterRole in the global namespace. If the RoleRef cannot be resolved, the \
             Authorizer must return an error.",
        ),
        AGE,
        Column::saying("Users", "Users in the clusterRoleBinding").wide(),
        Column::saying("Groups", "Groups in the clusterRoleBinding").wide(),
        Column::saying("ServiceAccounts", "ServiceAccounts in the clusterRoleBinding").wide(),
    ],
    cells: binding,
    condition: None,
};

fn binding(it: &Value, now: jiff::Timestamp) -> Vec<Value> {
    let subjects = |kind: &str| -> Value {
        let of_kind = items(it, "subjects").iter().filter(|it| text(it, "kind") == kind);
        let names = of_kind.map(|it| match text(it, "namespace") {
            "" => text(it, "name").to_owned(),
            namespace => format!("{namespace}/{}", text(it, "name")),
        });
        names.collect::<Vec<_>>().join(", ").into()
    };
    let role = format!("{}/{}", text(it, "roleRef.kind"), text(it, "roleRef.name"));
    vec![name(it), role.into(), age(it, now), subjects("User"), subjects("Group"), subjects("ServiceAccount")]
}

fn or(text: &str, absent: &str) -> Value {
    (if text.is_empty() { absent } else { text }).into()
}

fn or_none(text: &str) -> Value {
    or(text, NONE)
}

fn external_address(service: &Value) -> Value {
    let own: Vec<&str> = items(service, "spec.externalIPs").iter().filter_map(Value::as_str).collect();
    match text(service, "spec.type") {
        "ExternalName" => text(service, "spec.externalName").into(),
        "LoadBalancer" if own.is_empty() => {
            let given = items(service, "status.loadBalancer.ingress").iter();
            let addresses: Vec<&str> = given
                .map(|it| match text(it, "ip") {
                    "" => text(it, "hostname"),
                    address => address,
                })
                .collect();
            or(&addresses.join(","), "<pending>")
        }
        _ => or_none(&own.join(",")),
    }
}

fn ports(service: &Value) -> Value {
    let written = items(service, "spec.ports").iter().map(|port| {
        let (number, node_port) = (number(port, "port"), number(port, "nodePort"));
        let node_port = if node_port > 0 { format!(":{node_port}") } else { String::new() };
        format!("{number}{node_port}/{}", text(port, "protocol"))
    });
    or_none(&written.collect::<Vec<_>>().join(","))
}
