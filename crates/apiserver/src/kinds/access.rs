//! The rows of what is asked about access: whether somebody may do something, and what he may do.

use k8s_openapi::api::authorization::v1 as authorization;

use super::rows::stored;
use super::{Backing, Resource, Scope, TypeOf, Verb};

pub(super) const ACCESS_REVIEWS: Resource = Resource {
    singular: "selfsubjectaccessreview",
    kind: "SelfSubjectAccessReview",
    list_kind: "SelfSubjectAccessReviewList",
    type_of: Some(TypeOf::of::<authorization::SelfSubjectAccessReview>()),
    ..question("selfsubjectaccessreviews")
};

pub(super) const ACCESS_REVIEWS_OF_OTHERS: Resource = Resource {
    singular: "subjectaccessreview",
    kind: "SubjectAccessReview",
    list_kind: "SubjectAccessReviewList",
    type_of: Some(TypeOf::of::<authorization::SubjectAccessReview>()),
    ..question("subjectaccessreviews")
};

pub(super) const RULES_REVIEWS: Resource = Resource {
    singular: "selfsubjectrulesreview",
    kind: "SelfSubjectRulesReview",
    list_kind: "SelfSubjectRulesReviewList",
    type_of: Some(TypeOf::of::<authorization::SelfSubjectRulesReview>()),
    ..question("selfsubjectrulesreviews")
};

/// What all have in common: they can be asked, and that is all.
const fn question(plural: &'static str) -> Resource {
    Resource {
        group: "authorization.k8s.io",
        scope: Scope::Cluster,
        verbs: &[Verb::Create],
        backing: Backing::Asked,
        ..stored(plural)
    }
}
