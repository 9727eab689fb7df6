//! Where a webhook listens. Nothing routes to services here, so a webhook behind `clientConfig.service` is found by what the
//! Service object itself says: its annotation [`ADDRESS`], or the name it stands for (`type: ExternalName`). The webhook's
//! certificate must name `NAME.NAMESPACE.svc`, as on any cluster.

use k8s_openapi::api::admissionregistration::v1::{ServiceReference, WebhookClientConfig};

use super::transport::Endpoint;
use crate::store::{Key, Store};
use crate::tree::text;

/// The annotation of a Service that says where it is: `HOST:PORT`.
pub const ADDRESS: &str = "supple.dev/address";

/// Where the port is not said.
const HTTPS: i32 = 443;

/// Why a webhook cannot be called.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// There is neither URL nor service.
    #[error("webhook configuration must have either service or URL")]
    Nowhere,
    /// There is no such service.
    #[error("Post {url:?}: service {name:?} not found in the namespace {namespace:?}")]
    NoService {
        /// Where the call was to go.
        url: String,
        /// Name of the service.
        name: String,
        /// Its namespace.
        namespace: String,
    },
    /// The service does not say where it is.
    #[error(
        "Post {url:?}: nothing routes to the service {name:?} here; say where it listens with `kubectl -n {namespace} \
         annotate service {name} {ADDRESS}=HOST:PORT`"
    )]
    NoAddress {
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
            let (url, address) = (url_of(service), address(store, service)?);
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

fn address(store: &Store, reference: &ServiceReference) -> Result<String, EndpointError> {
    let ServiceReference { name, namespace, port, .. } = reference;
    let (url, name, namespace) = (url_of(reference), name.clone(), namespace.clone());
    let Some(service) = store.get(&Key::new("services", &namespace, &name)) else {
        return Err(EndpointError::NoService { url, name, namespace });
    };
    let service = service.value();
    let annotated = service.pointer("/metadata/annotations").and_then(|it| it.get(ADDRESS)?.as_str()).map(str::trim);
    let external = text(&service, "spec.externalName");
    match annotated {
        Some(address) if !address.is_empty() => Ok(address.to_owned()),
        _ if text(&service, "spec.type") == "ExternalName" && !external.is_empty() => {
            Ok(format!("{external}:{}", port.unwrap_or(HTTPS)))
        }
        _ => Err(EndpointError::NoAddress { url, name, namespace }),
    }
}
