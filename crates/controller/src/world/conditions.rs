//! What is the case with a workload, for the conditions of its `Rightsizing`: so that one can wait for it, and see since when
//! it has been so.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use supple_api::condition::{FITTING, PERMITTED, RECOMMENDED, Said, Since, set, taken_up};
use supple_decide::check::Check;
use supple_decide::code::Code;
use supple_decide::round::{Decision, Outcome};

/// In the order in which they are shown. `barred` is what forbids to do anything with the workload at all, `before` since when
/// what stands in the cluster has been so.
pub(super) fn conditions(
    decision: Option<&Decision>,
    barred: Option<(Code, String)>,
    before: &Since,
    generation: Option<i64>,
    now: Timestamp,
) -> Vec<Condition> {
    let mut conditions = taken_up(before);
    let said = |type_, status, reason, message| Said { type_, status, reason, message };
    let no_pods = |type_| said(type_, None, "NoPods", "none of its pods has been checked yet".to_owned());
    let unsure =
        decision.and_then(|it| it.findings.iter().find(|it| it.check == Check::Data && it.outcome != Outcome::Clamped));
    let recommended = match (decision, unsure) {
        (None, _) => no_pods(RECOMMENDED),
        (_, Some(finding)) => said(RECOMMENDED, Some(false), finding.code.as_str(), finding.message.clone()),
        (_, None) => said(RECOMMENDED, Some(true), "Provided", String::new()),
    };
    let permitted = match barred {
        Some((code, why)) => said(PERMITTED, Some(false), code.as_str(), why),
        None => said(PERMITTED, Some(true), "Allowed", String::new()),
    };
    let fitting = decision.map_or_else(
        || no_pods(FITTING),
        |it| {
            let fits = matches!(it.code, Code::Fits | Code::NotWorthIt);
            said(FITTING, Some(fits), it.code.as_str(), it.message.clone())
        },
    );
    for said in [recommended, permitted, fitting] {
        set(&mut conditions, said, generation, now);
    }
    conditions
}
