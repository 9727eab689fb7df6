//! What is remembered of a workload, to and from the status of its `Rightsizing`: quantities with units for people, numbers for
//! us; and the object kept small.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use supple_decide::code::Code;
use supple_decide::facts::WorkloadFacts;
use supple_decide::few::Few;
use supple_decide::need::{Need, Wanted};
use supple_decide::numbers::Numbers;
use supple_decide::record::{Done, Record, TooSmall};
use supple_decide::recreated::Recreated;
use supple_quantity::{Bytes, MilliCpu, Quantity};
use supple_recommend::codec::LoadError;
use supple_recommend::state::State;

use crate::names;
use crate::rightsizing::{
    AimText, ChangeText, ContainerRecommendation, DoneText, Recommended, RecordStatus, RecreatedText, Rightsizing,
    RightsizingSpec, RightsizingStatus, Sizes, SizesText, TooSmallText, WorkloadRef,
};

/// A status larger than this, written as JSON, sheds its oldest resizes.
pub const MOST_BYTES: usize = 7 * 1024;

impl Rightsizing {
    /// The object of a workload, owned by it so that it goes with it; nothing is known yet.
    #[must_use]
    pub fn of_workload(facts: &WorkloadFacts) -> Self {
        let WorkloadFacts { key, uid, api_version, .. } = facts;
        let owner = OwnerReference {
            api_version: api_version.to_string(),
            kind: key.kind.to_string(),
            name: key.name.to_string(),
            uid: uid.to_string(),
            ..OwnerReference::default()
        };
        Self {
            metadata: ObjectMeta {
                name: Some(names::rightsizing(&key.kind, &key.name)),
                namespace: Some(key.namespace.to_string()),
                owner_references: (!uid.is_empty()).then(|| vec![owner]),
                ..ObjectMeta::default()
            },
            spec: RightsizingSpec {
                workload_ref: WorkloadRef {
                    api_version: api_version.to_string(),
                    kind: key.kind.to_string(),
                    name: key.name.to_string(),
                },
            },
            status: None,
        }
    }
}

impl RightsizingStatus {
    /// What each container needs.
    #[must_use]
    pub fn recommendation_of(needs: &Few<Arc<str>, Need>) -> Vec<ContainerRecommendation> {
        needs
            .iter()
            .map(|(name, need)| ContainerRecommendation {
                container_name: name.to_string(),
                cpu: need.cpu.as_ref().map(recommended),
                memory: need.memory.as_ref().map(recommended),
                hours: i32::try_from(need.hours).unwrap_or(i32::MAX),
                measured: need.fresh,
            })
            .collect()
    }

    /// Sheds the oldest resizes until the status is at most so many bytes of JSON; the newest stays.
    pub fn shed(&mut self, most: usize) {
        while serde_json::to_vec(self).is_ok_and(|it| it.len() > most) {
            match &mut self.record {
                Some(record) if record.last_resizes.len() > 1 => drop(record.last_resizes.remove(0)),
                _ => return,
            }
        }
    }
}

fn recommended<T: std::fmt::Display>(wanted: &Wanted<T>) -> Recommended {
    Recommended {
        target: wanted.target.to_string(),
        lower: wanted.lower.to_string(),
        upper: wanted.upper.to_string(),
        confidence: i32::from(wanted.confidence_permille),
        rule: wanted.rule.clone(),
        doubt: if wanted.doubt == "none" { String::new() } else { wanted.doubt.clone() },
    }
}

impl Sizes {
    /// What a pod asks for now and is to ask for, its containers together.
    #[must_use]
    pub fn of(now: &[Numbers], next: &[Numbers]) -> Self {
        fn sum(all: &[Numbers], number: impl Fn(&Numbers) -> Option<i64>) -> Option<i64> {
            all.iter().filter_map(number).reduce(i64::saturating_add)
        }
        fn shown<T: std::fmt::Display>(now: Option<T>, next: Option<T>) -> String {
            let text = |it: Option<T>| it.map(|it| it.to_string());
            match (text(now), text(next)) {
                (Some(now), Some(next)) if now != next => format!("{now} -> {next}"),
                (None, Some(next)) => format!("none -> {next}"),
                (Some(now), _) => now,
                (None, None) => String::new(),
            }
        }
        let cpu = |all| sum(all, |it| it.cpu_request.map(|it| it.0)).map(MilliCpu);
        let memory = |all| sum(all, |it| it.memory_request.map(|it| it.0)).map(Bytes);
        Self { cpu: shown(cpu(now), cpu(next)), memory: shown(memory(now), memory(next)) }
    }
}

/// A recommender's state as text.
#[must_use]
pub fn history_of(state: &State) -> String {
    BASE64.encode(state.save())
}

/// Why a text is no state.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HistoryError {
    /// It is not base64.
    #[error("the history is not base64: {0}; start with an empty one")]
    NotBase64(String),
    /// The bytes are no state.
    #[error(transparent)]
    State(#[from] LoadError),
}

/// A recommender's state from text that [`history_of`] wrote.
///
/// # Errors
/// [`HistoryError`] says why not; begin with an empty state then.
pub fn history(text: &str) -> Result<State, HistoryError> {
    let bytes = BASE64.decode(text).map_err(|error| HistoryError::NotBase64(error.to_string()))?;
    Ok(State::load(&bytes)?)
}

impl From<&Numbers> for SizesText {
    fn from(numbers: &Numbers) -> Self {
        let Numbers { cpu_request, cpu_limit, memory_request, memory_limit } = numbers;
        Self {
            cpu_request: cpu_request.map(|it| it.to_string()),
            cpu_limit: cpu_limit.map(|it| it.to_string()),
            memory_request: memory_request.map(|it| it.to_string()),
            memory_limit: memory_limit.map(|it| it.to_string()),
        }
    }
}

impl From<&SizesText> for Numbers {
    /// What is no quantity is absent.
    fn from(text: &SizesText) -> Self {
        fn read<T: for<'a> From<&'a Quantity>>(text: Option<&String>) -> Option<T> {
            Some(T::from(&text?.parse().ok()?))
        }
        Self {
            cpu_request: read(text.cpu_request.as_ref()),
            cpu_limit: read(text.cpu_limit.as_ref()),
            memory_request: read(text.memory_request.as_ref()),
            memory_limit: read(text.memory_limit.as_ref()),
        }
    }
}

impl From<&Record> for RecordStatus {
    fn from(record: &Record) -> Self {
        let Record { originals, last, too_small, setbacks, not_before, incidents_until, no_room_since, recreated } =
            record;
        let change = |(name, (before, after)): (&Arc<str>, &(Numbers, Numbers))| {
            (name.to_string(), ChangeText { before: before.into(), after: after.into() })
        };
        let aim = |(name, (next, full)): (&Arc<str>, &(Numbers, Numbers))| {
            (name.to_string(), AimText { next: next.into(), full: full.into() })
        };
        Self {
            originals: originals.iter().map(|(name, it)| (name.to_string(), it.into())).collect(),
            last_resizes: last
                .iter()
                .map(|it| DoneText {
                    at: it.at,
                    pod: it.pod.clone(),
                    code: it.code.to_string(),
                    message: it.message.clone(),
                    containers: it.containers.iter().map(change).collect(),
                })
                .collect(),
            too_small: too_small
                .iter()
                .map(|it| TooSmallText {
                    container: it.container.clone(),
                    size: (&it.size).into(),
                    at: it.at,
                    code: it.code.to_string(),
                })
                .collect(),
            setbacks: i32::try_from(*setbacks).unwrap_or(i32::MAX),
            not_before: *not_before,
            incidents_until: *incidents_until,
            no_room_since: *no_room_since,
            recreated: recreated.as_ref().map(|it| RecreatedText {
                at: it.at,
                containers: it.sizes.iter().map(aim).collect(),
                otherwise: it.otherwise,
            }),
        }
    }
}

impl From<&RecordStatus> for Record {
    /// A code of another version is taken for the one that is nearest: nothing that is remembered gets lost over a word.
    fn from(status: &RecordStatus) -> Self {
        let code =
            |word: &str, otherwise: Code| Code::ALL.iter().copied().find(|it| it.as_str() == word).unwrap_or(otherwise);
        let change =
            |(name, it): (&String, &ChangeText)| (Arc::from(name.as_str()), ((&it.before).into(), (&it.after).into()));
        let aim = |(name, it): (&String, &AimText)| (Arc::from(name.as_str()), ((&it.next).into(), (&it.full).into()));
        Self {
            originals: status.originals.iter().map(|(name, it)| (Arc::from(name.as_str()), it.into())).collect(),
            last: status
                .last_resizes
                .iter()
                .map(|it| Done {
                    at: it.at,
                    pod: it.pod.clone(),
                    containers: it.containers.iter().map(change).collect(),
                    code: code(&it.code, Code::Resized),
                    message: it.message.clone(),
                })
                .collect(),
            too_small: status
                .too_small
                .iter()
                .map(|it| TooSmall {
                    container: it.container.clone(),
                    size: (&it.size).into(),
                    at: it.at,
                    code: code(&it.code, Code::OutOfMemory),
                })
                .collect(),
            setbacks: u32::try_from(status.setbacks).unwrap_or_default(),
            not_before: status.not_before,
            incidents_until: status.incidents_until,
            no_room_since: status.no_room_since,
            recreated: status.recreated.as_ref().map(|it| Recreated {
                at: it.at,
                sizes: it.containers.iter().map(aim).collect(),
                otherwise: it.otherwise,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use supple_recommend::policy::Policy as Terms;
    use supple_recommend::sample::Sample;
    use supple_recommend::state::Cursor;

    use super::*;

    fn numbers(cpu: i64, memory: i64) -> Numbers {
        let (cpu, memory) = (Some(MilliCpu(cpu)), Some(Bytes(memory)));
        Numbers { cpu_request: cpu, cpu_limit: None, memory_request: memory, memory_limit: memory }
    }

    /// Three containers, all of them changed in every resize that is remembered: as large as it gets.
    fn record() -> Record {
        let names = ["frontend", "metrics-exporter", "service-mesh-proxy"];
        let sizes = (numbers(1250, 1_288_490_189), numbers(2375, 2_147_483_648));
        let done = |hour: i64| Done {
            at: Timestamp::from_second(1_790_000_000 + hour * 3600).unwrap(),
            pod: "checkout-service-7d4b9c7f5-abcde".to_owned(),
            containers: names.iter().map(|it| (Arc::from(*it), sizes)).collect(),
            code: Code::Resized,
            message: "cpu 1250m to 2375m, memory 1.2Gi to 2Gi; no harm in the 5 minutes it was watched".to_owned(),
        };
        let at = Timestamp::from_second(1_790_000_000).unwrap();
        Record {
            originals: names.iter().map(|it| (Arc::from(*it), sizes.0)).collect(),
            last: (0..10).map(done).collect(),
            too_small: names
                .iter()
                .map(|it| TooSmall { container: (*it).to_owned(), size: sizes.0, at, code: Code::OutOfMemory })
                .collect(),
            setbacks: 2,
            not_before: Some(at),
            incidents_until: Some(at),
            no_room_since: Some(at),
            recreated: Some(Recreated {
                at,
                sizes: names.iter().map(|it| (Arc::from(*it), sizes)).collect(),
                otherwise: Some(true),
            }),
        }
    }

    #[test]
    fn a_record_survives() {
        for record in [record(), Record::default()] {
            let status = RecordStatus::from(&record);
            let text = serde_json::to_string(&status).unwrap();
            let read: RecordStatus = serde_json::from_str(&text).unwrap();
            assert_eq!(Record::from(&read), record);
        }
    }

    #[test]
    fn a_code_of_another_version_loses_nothing() {
        let mut status = RecordStatus::from(&record());
        status.last_resizes[0].code = "Teleported".to_owned();
        status.too_small[0].code = "Squashed".to_owned();
        let read = Record::from(&status);
        assert_eq!((read.last[0].code, read.last.len()), (Code::Resized, 10));
        assert_eq!((read.too_small[0].code, read.too_small.len()), (Code::OutOfMemory, 3));
    }

    /// A state about which much is known, so that it is as long as states get in practice.
    fn state() -> State {
        let mut state = State::default();
        let (mut cursor, policy) = (Cursor::default(), Terms::default());
        for minute in (0..10 * 24 * 60_i64).step_by(5) {
            let sample = Sample {
                time: 1_790_000_000 + minute * 60,
                cpu: Some(100.0 + f64::from(i32::try_from(minute * 7919 % 997).unwrap())),
                memory: Some(5e8 + 1e6 * f64::from(i32::try_from(minute * 104_729 % 499).unwrap())),
                ..Sample::default()
            };
            state.observe(&mut cursor, &sample, &policy);
        }
        state
    }

    #[test]
    fn an_object_stays_small() {
        let state = state();
        assert_eq!(history(&history_of(&state)).unwrap(), state);
        let wanted = |target: i64| Wanted {
            target: MilliCpu(target),
            lower: MilliCpu(target / 2),
            upper: MilliCpu(target * 2),
            confidence_permille: 870,
            rule: "plan".to_owned(),
            doubt: "short-history".to_owned(),
            urgent: false,
            veto: false,
        };
        let names = ["frontend", "metrics-exporter", "service-mesh-proxy"];
        let need = Need { cpu: Some(wanted(1234)), fresh: Some(Timestamp::UNIX_EPOCH), hours: 170, memory: None };
        let needs = names.iter().map(|it| (Arc::from(*it), need.clone())).collect();
        let mut status = RightsizingStatus {
            recommendation: RightsizingStatus::recommendation_of(&needs),
            history: names.iter().map(|it| ((*it).to_owned(), history_of(&state))).collect(),
            record: Some(RecordStatus::from(&record())),
            ..RightsizingStatus::default()
        };
        let longest = serde_json::to_string(&status).unwrap().len();
        status.shed(MOST_BYTES);
        let text = serde_json::to_string(&status).unwrap();
        assert!(text.len() <= MOST_BYTES, "{} of {longest} bytes", text.len());
        let kept = Record::from(status.record.as_ref().unwrap());
        assert_eq!(kept.last.last(), record().last.last(), "the newest resize stays");
        assert_eq!((kept.originals, kept.too_small), (record().originals, record().too_small));
    }

    #[test]
    fn rubbish_is_no_history() {
        assert!(history("not base64!").unwrap_err().to_string().contains("not base64"));
        assert!(matches!(history(""), Err(HistoryError::State(_))));
    }

    #[test]
    fn sizes_are_sums_with_an_arrow() {
        let (now, next) =
            ([numbers(250, 1 << 28), numbers(50, 1 << 26)], [numbers(250, 1 << 29), numbers(50, 1 << 26)]);
        let sizes = Sizes::of(&now, &next);
        assert_eq!((sizes.cpu.as_str(), sizes.memory.as_str()), ("300m", "320Mi -> 576Mi"));
        assert_eq!(Sizes::of(&[Numbers::default()], &[numbers(1000, 1024)]).cpu, "none -> 1");
        assert_eq!(Sizes::of(&[], &[]), Sizes::default());
    }
}
