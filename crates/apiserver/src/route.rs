//! From a method and a path to what is asked for: which resource, which object, which verb. No IO, no store.

use http::Method;

use crate::errors::ApiError;
use crate::kinds::{Resource, Rows, Subresource, Verb};

/// What a path leads to.
#[derive(Debug)]
pub enum Route {
    /// `/healthz`, `/livez`, `/readyz` (and the checks below them).
    Health,
    /// `/version`.
    Version,
    /// `/api`.
    CoreVersions,
    /// `/apis`.
    Groups,
    /// `/apis/{group}`.
    Group(String),
    /// `/api/{version}`, `/apis/{group}/{version}`: what is served there.
    Resources {
        /// Empty for the core group.
        group: String,
        /// The version.
        version: String,
    },
    /// `/openapi/v2`.
    OpenApiV2,
    /// `/openapi/v3`.
    OpenApiIndex,
    /// `/openapi/v3/{path}`.
    OpenApiDocument(String),
    /// `/api/v1/nodes/{node}/proxy/{path}`: what the node itself answers.
    NodeProxy {
        /// Its name.
        node: String,
        /// What is asked of it, without a slash before or behind.
        path: String,
    },
    /// Objects.
    Resource(Target),
}

/// The objects that a path names.
#[derive(Clone, Debug)]
pub struct Target {
    /// The row of the table.
    pub resource: &'static Resource,
    /// The namespace; empty for cluster-scoped resources and for lists over all namespaces.
    pub namespace: String,
    /// The object; empty for the collection.
    pub name: String,
    /// The path below the object.
    pub subresource: Option<&'static Subresource>,
}

/// What is to be done with a [`Target`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// GET of an object or of a path below it.
    Get,
    /// GET of a collection; a watch if the query says so.
    List,
    /// POST.
    Create,
    /// PUT.
    Update,
    /// PATCH.
    Patch,
    /// DELETE of an object.
    Delete,
    /// DELETE of a collection.
    DeleteCollection,
}

impl Action {
    fn verb(self) -> Verb {
        match self {
            Self::Get => Verb::Get,
            Self::List => Verb::List,
            Self::Create => Verb::Create,
            Self::Update => Verb::Update,
            Self::Patch => Verb::Patch,
            Self::Delete => Verb::Delete,
            Self::DeleteCollection => Verb::DeleteCollection,
        }
    }
}

/// Finds what `path` leads to.
///
/// # Errors
/// 404 for a path that leads nowhere.
pub fn route(rows: &Rows, path: &str) -> Result<Route, ApiError> {
    find(rows, path).ok_or_else(|| ApiError::no_such_path(path))
}

fn find(rows: &Rows, path: &str) -> Option<Route> {
    let segments =
        path.split('/').filter(|segment| !segment.is_empty()).map(percent_decode).collect::<Option<Vec<_>>>()?;
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    match segments.as_slice() {
        ["healthz" | "livez" | "readyz", ..] => Some(Route::Health),
        ["version"] => Some(Route::Version),
        ["openapi", "v2"] => Some(Route::OpenApiV2),
        ["openapi", "v3"] => Some(Route::OpenApiIndex),
        ["openapi", "v3", rest @ ..] => Some(Route::OpenApiDocument(rest.join("/"))),
        ["api"] => Some(Route::CoreVersions),
        ["apis"] => Some(Route::Groups),
        ["apis", group] => Some(Route::Group((*group).to_owned())),
        ["api", version] => Some(Route::Resources { group: String::new(), version: (*version).to_owned() }),
        ["apis", group, version] => {
            Some(Route::Resources { group: (*group).to_owned(), version: (*version).to_owned() })
        }
        ["api", "v1", "nodes", node, "proxy", path @ ..] => {
            Some(Route::NodeProxy { node: (*node).to_owned(), path: path.join("/") })
        }
        ["api", version, rest @ ..] => target(rows, "", version, rest).map(Route::Resource),
        ["apis", group, version, rest @ ..] => target(rows, group, version, rest).map(Route::Resource),
        _ => None,
    }
}

fn target(rows: &Rows, group: &str, version: &str, rest: &[&str]) -> Option<Target> {
    // `namespaces/x/pods` is a collection in a namespace, `namespaces/x` and `namespaces/x/status` are a namespace.
    let (namespace, rest) = match rest {
        ["namespaces", namespace, plural, tail @ ..]
            if !(tail.is_empty()
                && rows.find(group, version, "namespaces").is_some_and(|it| it.subresource(plural).is_some())) =>
        {
            let mut shifted = vec![*plural];
            shifted.extend_from_slice(tail);
            (*namespace, shifted)
        }
        _ => ("", rest.to_vec()),
    };
    let (plural, name, subresource) = match rest.as_slice() {
        [plural] => (*plural, "", None),
        [plural, name] => (*plural, *name, None),
        [plural, name, subresource] => (*plural, *name, Some(*subresource)),
        _ => return None,
    };
    let resource = rows.find(group, version, plural)?;
    let in_namespace = !namespace.is_empty();
    if in_namespace && !resource.namespaced() || !in_namespace && resource.namespaced() && !name.is_empty() {
        return None;
    }
    let subresource = match subresource {
        None => None,
        Some(wanted) => Some(resource.subresource(wanted)?),
    };
    Some(Target { resource, namespace: namespace.to_owned(), name: name.to_owned(), subresource })
}

impl Target {
    /// What `method` means here.
    ///
    /// # Errors
    /// 405 where the resource does not offer it.
    pub fn action(&self, method: &Method) -> Result<Action, ApiError> {
        let one = !self.name.is_empty();
        let action = match *method {
            Method::GET | Method::HEAD if one => Action::Get,
            Method::GET | Method::HEAD => Action::List,
            Method::POST if !one || self.subresource.is_some() => Action::Create,
            Method::PUT if one => Action::Update,
            Method::PATCH if one => Action::Patch,
            Method::DELETE if one => Action::Delete,
            Method::DELETE => Action::DeleteCollection,
            _ => return Err(ApiError::method_not_allowed()),
        };
        let offered = match self.subresource {
            Some(subresource) => subresource.verbs.contains(&action.verb()),
            None => self.resource.allows(action.verb()),
        };
        // Over all namespaces one can only look.
        let everywhere = self.resource.namespaced() && self.namespace.is_empty();
        if !offered || everywhere && action != Action::List {
            return Err(ApiError::method_not_allowed());
        }
        Ok(action)
    }
}

/// A path segment or query part as it was before it was escaped; `None` if that is no UTF-8.
fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| char::from(byte?).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        bytes.push(digit(rest.next())? * 16 + digit(rest.next())?);
    }
    String::from_utf8(bytes).ok()
}

/// The query of a request.
#[derive(Clone, Debug, Default)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Reads what stands after the question mark.
    ///
    /// # Errors
    /// 400 for an escape that is none.
    pub fn parse(text: &str) -> Result<Self, ApiError> {
        let decode = |text: &str| {
            percent_decode(&text.replace('+', " "))
                .ok_or_else(|| ApiError::bad_request(format!("invalid URL escape in the query parameter {text:?}")))
        };
        let pairs = text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decode(name)?, decode(value)?))
        });
        pairs.collect::<Result<_, _>>().map(Self)
    }

    /// The first value of a parameter; empty if it is absent.
    pub fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
    }

    /// Every value of a parameter.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// A boolean parameter: given without a value, `1` and `true` are yes, as the reference reads them.
    pub fn flag(&self, name: &str) -> bool {
        self.0
            .iter()
            .find(|(key, _)| key == name)
            .is_some_and(|(_, value)| !matches!(value.to_ascii_lowercase().as_str(), "false" | "0"))
    }

    /// A whole number, if given.
    ///
    /// # Errors
    /// 400 for what is none.
    pub fn number(&self, name: &str) -> Result<Option<i64>, ApiError> {
        match self.get(name) {
            "" => Ok(None),
            text => text.parse().map(Some).map_err(|_| {
                ApiError::bad_request(format!(
                    "strconv.ParseInt: parsing {text:?}: invalid syntax in the query parameter {name}"
                ))
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(method: &str, path: &str, expected: &str) {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let found = match route(Rows::built_in(), path) {
            Err(error) => error.code.as_u16().to_string(),
            Ok(Route::Resource(target)) => match target.action(&method) {
                Err(error) => error.code.as_u16().to_string(),
                Ok(action) => format!(
                    "{action:?} {} {:?} {:?} {}",
                    target.resource.qualified(),
                    target.namespace,
                    target.name,
                    target.subresource.map_or("", |it| it.name)
                ),
            },
            Ok(other) => format!("{other:?}"),
        };
        assert_eq!(found.trim_end(), expected, "{method} {path}");
    }

    #[test]
    fn paths_lead_where_they_should() {
        check("GET", "/api/v1/pods", r#"List pods "" """#);
        check("GET", "/api/v1/namespaces/a/pods", r#"List pods "a" """#);
        check("GET", "/api/v1/namespaces/a/pods/p/", r#"Get pods "a" "p""#);
        check("PATCH", "/api/v1/namespaces/a/pods/p/resize", r#"Patch pods "a" "p" resize"#);
        check("POST", "/api/v1/namespaces/a/pods/p/eviction", r#"Create pods "a" "p" eviction"#);
        check("GET", "/api/v1/namespaces/a", r#"Get namespaces "" "a""#);
        check("PUT", "/api/v1/namespaces/a/status", r#"Update namespaces "" "a" status"#);
        check("DELETE", "/api/v1/nodes", r#"DeleteCollection nodes "" """#);
        check(
            "PUT",
            "/apis/coordination.k8s.io/v1/namespaces/n/leases/x%2ey",
            r#"Update leases.coordination.k8s.io "n" "x.y""#,
        );
        check("GET", "/apis/metrics.k8s.io/v1beta1/nodes", r#"List nodes.metrics.k8s.io "" """#);
        let summary = r#"NodeProxy { node: "n", path: "stats/summary" }"#;
        check("GET", "/api/v1/nodes/n/proxy/stats/summary", summary);
    }

    #[test]
    fn what_is_not_offered_is_refused() {
        check("POST", "/api/v1/namespaces/a/pods/p/resize", "405");
        check("DELETE", "/api/v1/namespaces/a/pods/p/resize", "405");
        check("POST", "/api/v1/pods", "405");
        check("DELETE", "/api/v1/pods", "405");
        check("DELETE", "/api/v1/namespaces", "405");
        check("POST", "/apis/metrics.k8s.io/v1beta1/nodes", "405");
        check("BREW", "/api/v1/nodes", "405");
        for path in [
            "/",
            "/api/v2/pods",
            "/api/v1/gizmos",
            "/api/v1/pods/p",
            "/api/v1/namespaces/a/nodes",
            "/api/v1/namespaces/a/pods/p/exec",
            "/api/v1/%ff",
            "/api/v1/%zz",
        ] {
            check("GET", path, "404");
        }
    }

    #[test]
    fn flags_and_numbers() {
        let query = Query::parse("watch&a=false&limit=5&bad=x&labelSelector=a%3Db%2Cc").unwrap();
        assert!(query.flag("watch") && !query.flag("a") && !query.flag("absent"));
        assert_eq!(query.number("limit").unwrap(), Some(5));
        assert_eq!(query.get("labelSelector"), "a=b,c");
        assert!(query.number("bad").is_err() && Query::parse("a=%z").is_err());
    }
}
