//! What will come of a change, said before it is sent: the rules of `resize` applied to what could be read of the
//! pod's surroundings, put into the words of an outcome.

use k8s_openapi::api::core::v1::Pod;

use crate::change::Change;
use crate::reason::Reason;
use crate::surroundings::Surroundings;

/// The prediction.
#[derive(Clone, Debug, Default)]
pub struct Forecast {
    refusal: Option<String>,
    obstacle: Option<(Reason, String)>,
    warnings: Vec<String>,
    restarts: Vec<String>,
}

/// Predict.
pub fn forecast(_pod: &Pod, _change: &Change, _around: &Surroundings) -> Forecast {
    Forecast::default()
}

impl Forecast {
    /// Why the server would refuse it.
    pub fn refusal(&self) -> Option<&str> {
        self.refusal.as_deref()
    }

    /// What would keep the node from doing it at once.
    pub fn obstacle(&self) -> Option<(Reason, &str)> {
        self.obstacle.as_ref().map(|(reason, why)| (*reason, why.as_str()))
    }

    /// What a person should know although it would be done.
    pub fn warnings(&self) -> Vec<String> {
        self.warnings.clone()
    }

    /// ` (restarts a, b)` or ` (no restart)`.
    pub fn restarts_in_words(&self) -> String {
        if self.restarts.is_empty() {
            " (no restart)".to_owned()
        } else {
            format!(" (restarts {})", self.restarts.join(", "))
        }
    }
}
