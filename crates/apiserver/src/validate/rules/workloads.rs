//! The rules of workloads, autoscalers and disruption budgets, one row a kind: what they leave out, what each path may
//! touch, what is refused.

use super::{NONE, Rules, autoscaler, batch, budget, keep, new_status, replicated};

/// What all of them share: a status that only its own path writes, and a generation that tells changes of the spec.
const OBSERVED: Rules = Rules {
    prepare_create: |new| new_status(new, &[]),
    prepare_update: |new, old| keep(new, old, "status"),
    generation: &["spec"],
    ..NONE
};

/// Deployments. Annotations count as a change, as `kubectl rollout` keeps its notes there.
pub static DEPLOYMENT: Rules = Rules {
    default: replicated::default_deployment,
    generation: &["spec", "metadata.annotations"],
    validate_create: replicated::deployment,
    validate_update: |new, old| replicated::same_selector(new, old, replicated::deployment),
    validate_status: replicated::deployment_status,
    ..OBSERVED
};

/// Replica sets.
pub static REPLICA_SET: Rules = Rules {
    default: replicated::default_replica_set,
    prepare_create: |new| new_status(new, &replicated::REPLICA_SET_COUNTS),
    validate_create: replicated::replica_set,
    validate_update: |new, old| replicated::same_selector(new, old, replicated::replica_set),
    validate_status: replicated::replica_set_status,
    ..OBSERVED
};

/// Stateful sets.
pub static STATEFUL_SET: Rules = Rules {
    default: replicated::default_stateful_set,
    prepare_create: |new| new_status(new, &replicated::STATEFUL_SET_COUNTS),
    validate_create: replicated::stateful_set,
    validate_update: replicated::stateful_set_update,
    validate_status: replicated::stateful_set_status,
    ..OBSERVED
};

/// Daemon sets.
pub static DAEMON_SET: Rules = Rules {
    default: replicated::default_daemon_set,
    prepare_create: |new| new_status(new, &replicated::DAEMON_SET_COUNTS),
    validate_create: replicated::daemon_set,
    validate_update: |new, old| replicated::same_selector(new, old, replicated::daemon_set),
    validate_status: replicated::daemon_set_status,
    ..OBSERVED
};

/// What a stateful or daemon set remembers of its former templates.
pub static CONTROLLER_REVISION: Rules =
    Rules { validate_create: replicated::revision, validate_update: replicated::revision_update, ..NONE };

/// Jobs. A job that brings no selector gets one that no other has.
pub static JOB: Rules = Rules {
    default: batch::default_job,
    prepare_create: |new| {
        new_status(new, &[]);
        batch::select_own_pods(new);
    },
    validate_create: batch::job,
    validate_update: batch::job_update,
    validate_status: batch::job_status,
    ..OBSERVED
};

/// Cron jobs.
pub static CRON_JOB: Rules = Rules {
    default: batch::default_cron_job,
    validate_create: batch::cron_job,
    validate_update: |new, _| batch::cron_job(new),
    ..OBSERVED
};

/// Autoscalers, in the form of `autoscaling/v2`. They have no generation in the reference.
pub static AUTOSCALER: Rules = Rules {
    default: autoscaler::default,
    generation: &[],
    prepare_create: |new| new_status(new, &autoscaler::COUNTS),
    validate_create: autoscaler::validate,
    validate_update: |new, _| autoscaler::validate(new),
    validate_status: |new, _| autoscaler::status(new),
    ..OBSERVED
};

/// Disruption budgets.
pub static DISRUPTION_BUDGET: Rules = Rules {
    default: budget::default,
    prepare_create: |new| new_status(new, &budget::COUNTS),
    validate_create: budget::validate,
    validate_update: |new, _| budget::validate(new),
    validate_status: |new, _| budget::status(new),
    ..OBSERVED
};

/// Scales: a count.
pub static SCALE: Rules = Rules { validate_create: replicated::scale, ..NONE };
