//! Where a webhook listens. There are no services here to send a call to, so that `clientConfig.service` is looked up in a
//! config map that whoever runs the webhook writes: `kube-system/supple-services`, `NAME.NAMESPACE` to `HOST:PORT`. The
//! webhook's certificate must name `NAME.NAMESPACE.svc`, as on any cluster.

use k8s_openapi::api::admissionregistration::v1::{ServiceReference, WebhookClientConfig};

use super::transport::Endpoint;
use crate::store::{Key, Store};

/// The config map that says where services listen, and its namespace.
const TABLE: (&str, &str) = ("kube-system", "supple-services");

/// Where the port is not said.
const HTTPS: i32 = 443;

/// Where no webhook can be called.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// There is neither URL nor service.
    #[error("webhook configuration must have either service or URL")]
    Nowhere,
    /// The service is in no table.
    #[error(
        "Post {url:?}: service {name:?} not found: there are no services here; say where it listens with `kubectl -n {} \
         create configmap {} --from-literal={name}.{namespace}=HOST:PORT`",
        TABLE.0,
        TABLE.1
    )]
    NoService {
        /// Where the call was to go.
        url: String,
        /// Name of the service.
        name: String,
        /// Its namespace.
        namespace: String,
    },
}

/// Where the webhook of a configuration listens today.
///
/// # Errors
/// [`EndpointError`], which says what to do.
pub fn endpoint(store: &Store, client: &WebhookClientConfig) -> Result<Endpoint, EndpointError> {
    let ca_bundle = client.ca_bundle.as_ref().map(|bundle| bundle.0.clone()).filter(|bundle| !bundle.is_empty());
    match (&client.url, &client.service) {
        (Some(url), None) => Ok(Endpoint { url: with_path(url), ca_bundle, address: None }),
        (None, Some(service)) => {
            let url = url_of(service);
            let address = listed(store, service).ok_or_else(|| EndpointError::NoService {
                url: url.clone(),
                name: service.name.clone(),
                namespace: service.namespace.clone(),
            })?;
            Ok(Endpoint { url, ca_bundle, address: Some(address) })
        }
        _ => Err(EndpointError::Nowhere),
    }
}

/// A URL always has a path when it is called.
fn with_path(url: &str) -> String {
    let has_path = url.split_once("://").is_some_and(|(_, rest)| rest.contains('/'));
    if has_path { url.to_owned() } else { format!("{url}/") }
}

fn url_of(service: &ServiceReference) -> String {
    let ServiceReference { name, namespace, path, port } = service;
    let path = path.as_deref().unwrap_or_default();
    let slash = if path.starts_with('/') { "" } else { "/" };
    format!("https://{name}.{namespace}.svc:{}{slash}{path}", port.unwrap_or(HTTPS))
}

fn listed(store: &Store, service: &ServiceReference) -> Option<String> {
    let table = store.get(&Key::new("configmaps", TABLE.0, TABLE.1))?.value();
    let address = table.get("data")?.get(format!("{}.{}", service.name, service.namespace))?.as_str()?.trim();
    (!address.is_empty()).then(|| address.to_owned())
}
