//! Images: taken as they are present, pulled where the policy asks for it and a registry answers.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared};
use tonic::{Code, Status};

use super::error as cri;
use super::machine::Machine;
use super::proto::{ImageSpec, ImageStatusRequest, PullImageRequest};
use crate::runtime::ground::lock;
use crate::runtime::{Images, RuntimeError, error};

type Pull = Shared<BoxFuture<'static, Result<(), RuntimeError>>>;

/// Pulls that go on, by image: pods that want the same one wait for the same pull.
#[derive(Default)]
pub struct Pulls(Mutex<HashMap<String, Pull>>);

impl fmt::Debug for Pulls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(lock(&self.0).keys()).finish()
    }
}

/// Make sure of the image, by the pull policy; no policy is `IfNotPresent`.
pub async fn check(machine: &Arc<Machine>, image: &str, pull_policy: Option<&str>) -> Result<(), RuntimeError> {
    Images::Any.check(image, pull_policy)?; // refuses a name that is none
    if pull_policy != Some("Always") && is_present(machine, image).await? {
        return Ok(());
    }
    if pull_policy == Some("Never") {
        return Images::Only(Default::default()).check(image, pull_policy);
    }
    pull(machine, image).await
}

async fn is_present(machine: &Machine, image: &str) -> Result<bool, RuntimeError> {
    match machine.calls.image_status(ImageStatusRequest { image: Some(spec(image)) }).await {
        Ok(answer) => Ok(answer.image.is_some()),
        Err(status) if status.code() == Code::NotFound => Ok(false),
        Err(status) => Err(failed("ImageInspectError", "inspect", image, &status)),
    }
}

/// On a task of its own: whoever waits may go away, the pull goes on.
fn pull(machine: &Arc<Machine>, image: &str) -> Pull {
    let mut pulls = lock(&machine.pulls.0);
    if let Some(pull) = pulls.get(image) {
        return pull.clone();
    }
    let (machine, name) = (Arc::clone(machine), image.to_owned());
    let task = tokio::spawn(async move {
        let pulled =
            machine.calls.pull_image(PullImageRequest { image: Some(spec(&name)), sandbox_config: None }).await;
        lock(&machine.pulls.0).remove(&name);
        pulled.map(drop).map_err(|status| failed("ErrImagePull", "pull", &name, &status))
    });
    let pull = task.map(|done| done.unwrap_or_else(|lost| Err(error::task(&lost)))).boxed().shared();
    pulls.insert(image.to_owned(), pull.clone());
    pull
}

fn failed(reason: &'static str, operation: &str, image: &str, status: &Status) -> RuntimeError {
    cri::call(reason, operation, format!("image {image:?}"), status)
}

fn spec(image: &str) -> ImageSpec {
    ImageSpec { image: image.to_owned(), user_specified_image: image.to_owned(), ..ImageSpec::default() }
}
