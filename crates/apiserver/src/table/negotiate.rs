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

/// The form that `accept` prefers among those the server can give; `None` is a 406. An absent header (`""`) accepts
/// JSON. A clause for a form or an encoding the server does not know is passed over: clients list what they would like
/// before what they can live with.
pub fn negotiate(accept: &str) -> Option<Form> {
    if accept.trim().is_empty() {
        return Some(Form::Plain);
    }
    let mut best: Option<(f32, Form)> = None;
    for clause in accept.split(',') {
        let Some((quality, form)) = clause_form(clause) else { continue };
        // The first of equals wins, as the reference's sort is stable.
        if quality > 0.0 && best.is_none_or(|(highest, _)| quality > highest) {
            best = Some((quality, form));
        }
    }
    best.map(|(_, form)| form)
}

fn clause_form(clause: &str) -> Option<(f32, Form)> {
    let mut parts = clause.split(';').map(str::trim);
    if !matches!(parts.next()?, "application/json" | "application/*" | "*/*") {
        return None;
    }
    let (mut kind, mut version, mut group, mut quality) = ("", "", "", 1.0);
    for (name, value) in parts.filter_map(|it| it.split_once('=')) {
        match name {
            "as" => kind = value,
            "v" => version = value,
            "g" => group = value,
            "q" => quality = value.parse().unwrap_or(0.0),
            _ => {}
        }
    }
    let form = match (kind, version, group) {
        ("", ..) => Form::Plain,
        ("Table", "v1", "meta.k8s.io") => Form::Table,
        ("PartialObjectMetadata" | "PartialObjectMetadataList", "v1", "meta.k8s.io") => Form::PartialMetadata,
        ("APIGroupDiscoveryList", "v2", "apidiscovery.k8s.io") => Form::AggregatedDiscovery,
        _ => return None,
    };
    Some((quality, form))
}
