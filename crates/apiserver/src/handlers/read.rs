//! Get and list.

use std::sync::Arc;
use std::time::Duration;

use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::StatusCode;
use serde_json::{Value, json};

use super::{Api, Call};
use crate::errors::ApiError;
use crate::kinds::Backing;
use crate::metadata::subject;
use crate::old_kubectl;
use crate::options::{At, ListOptions};
use crate::respond::{json as answer, list_metadata, stored_list};
use crate::store::{Expired, Listing, Object};
use crate::table::Form;

/// How long a list waits for a revision that is not there yet: as long as the reference.
const FRESHNESS: Duration = Duration::from_secs(3);

impl Api {
    /// GET of an object.
    pub(super) fn get(&self, call: &Call) -> Result<Response, ApiError> {
        let object = self.find(call)?;
        let shown = call.wanted.object(call.target.resource, &object);
        Ok(answer(StatusCode::OK, old_kubectl::readable(&call.headers, shown)))
    }

    /// The durable object a call names.
    pub(super) fn find(&self, call: &Call) -> Result<Arc<Object>, ApiError> {
        let (resource, name) = (call.target.resource, &call.target.name);
        self.store.get(&call.target.key(name)).ok_or_else(|| ApiError::not_found(subject(resource, name)))
    }

    /// GET of a collection.
    pub(super) async fn list(&self, call: &Call) -> Result<Response, ApiError> {
        let resource = call.target.resource;
        let options = ListOptions::parse(&call.query, resource)?;
        let page = self.page(call, &options).await?;
        let metadata = list_metadata(page.revision, &page.continue_token, page.remaining);
        if call.wanted.form == Form::Plain && matches!(resource.backing, Backing::Stored(_)) {
            return Ok(stored_list(resource, page.objects, &metadata));
        }
        let objects = page.objects.iter().map(AsRef::as_ref);
        Ok(answer(StatusCode::OK, call.wanted.list(resource, objects, metadata)))
    }

    async fn page(&self, call: &Call, options: &ListOptions) -> Result<Page, ApiError> {
        let (collection, namespace) = (call.target.collection(), call.target.namespace.as_str());
        let (at, after) = if options.continue_token.is_empty() {
            (options.at, String::new())
        } else {
            let token = Token::decode(&options.continue_token).ok_or_else(|| {
                ApiError::bad_request("continue key is not valid: the token was not made by this server")
            })?;
            let after = format!("{collection}/{}", token.after);
            (token.revision.map_or(At::Newest, At::Exact), after)
        };
        let Listing { objects, revision } = self.listing(collection, namespace, &after, at).await.map_err(|error| {
            match error {
                // The rest can still be had, at today's revision: the client chooses.
                ListError::Expired if !options.continue_token.is_empty() => {
                    let rest =
                        Token { revision: None, after: after.split_once('/').map_or("", |(_, rest)| rest).to_owned() };
                    ApiError { continue_token: Some(rest.encode()), ..ApiError::expired(EXPIRED_CONTINUE) }
                }
                ListError::Expired => ApiError::expired("The resourceVersion for the provided list is too old."),
                ListError::TooNew { asked, newest } => ApiError::too_large_resource_version(asked, newest),
            }
        })?;
        let mut matching =
            objects.into_iter().filter(|object| options.everything() || options.matches(&object.outline()));
        let limit = if options.limit == 0 { usize::MAX } else { options.limit };
        let page: Vec<_> = matching.by_ref().take(limit).collect();
        let rest = matching.count();
        let last = page.last().filter(|_| rest > 0);
        let continue_token = last.map_or_else(String::new, |last| {
            let after = last.key.as_str().split_once('/').map_or("", |(_, rest)| rest);
            Token { revision: Some(revision), after: after.to_owned() }.encode()
        });
        // The reference does not count through a selector.
        let remaining = (options.everything() && rest > 0).then_some(rest);
        Ok(Page { objects: page, revision, continue_token, remaining })
    }

    async fn listing(&self, collection: &str, namespace: &str, after: &str, at: At) -> Result<Listing, ListError> {
        let (exact, wanted) = match at {
            At::Newest | At::Any => (None, 0),
            At::NotOlderThan(revision) => (None, revision),
            At::Exact(revision) => (Some(revision), revision),
        };
        self.wait_for(wanted).await?;
        self.store.list(collection, namespace, after, exact).map_err(|Expired { .. }| ListError::Expired)
    }

    async fn wait_for(&self, revision: u64) -> Result<(), ListError> {
        let mut published = self.store.published();
        let arrived = tokio::time::timeout(FRESHNESS, published.wait_for(|newest| *newest >= revision)).await;
        match arrived {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(ListError::TooNew { asked: revision, newest: self.store.revision() }),
        }
    }
}

const EXPIRED_CONTINUE: &str = "The provided continue parameter is too old to display a consistent list result. You can \
    start a new list without the continue parameter, or use the continue token in this response to retrieve the \
    remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were \
    created, modified, or deleted between the time the first chunk was returned and now may show up in the list.";

enum ListError {
    Expired,
    TooNew { asked: u64, newest: u64 },
}

struct Page {
    objects: Vec<Arc<Object>>,
    revision: u64,
    continue_token: String,
    remaining: Option<usize>,
}

/// Where a page ended: a revision (none: today's, after the first one expired) and the last key of the page.
#[derive(Debug, PartialEq)]
struct Token {
    revision: Option<u64>,
    /// `namespace/name`.
    after: String,
}

impl Token {
    fn encode(&self) -> String {
        let Self { revision, after } = self;
        URL_SAFE_NO_PAD.encode(json!({"v": "supple/v1", "rv": revision, "after": after}).to_string())
    }

    fn decode(text: &str) -> Option<Self> {
        let value: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
        if value.get("v")? != "supple/v1" {
            return None;
        }
        let revision = match value.get("rv")? {
            Value::Null => None,
            revision => Some(revision.as_u64()?),
        };
        let after = value.get("after")?.as_str()?.to_owned();
        after.contains('/').then_some(Self { revision, after })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_come_back_and_others_are_refused() {
        for token in
            [Token { revision: Some(7), after: "n/a".to_owned() }, Token { revision: None, after: "/node".to_owned() }]
        {
            assert_eq!(Token::decode(&token.encode()), Some(token));
        }
        for text in ["", "x", "e30", &URL_SAFE_NO_PAD.encode("{\"v\":\"supple/v1\",\"rv\":1,\"after\":\"x\"}")] {
            assert_eq!(Token::decode(text), None, "{text}");
        }
    }
}
