//! Which kinds one server serves: those of the table, and those that its definitions add.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::definition::COLLECTION;
use super::{naming, rows};
use crate::kinds::{Resource, Strategy, TABLE};
use crate::openapi::Documents;
use crate::store::Store;
use crate::tree::text;

/// The rows that are served at one moment.
#[derive(Debug, Default)]
pub struct Rows {
    custom: Vec<&'static Resource>,
    documents: OnceLock<Documents>,
}

impl Rows {
    /// The kinds of the table alone.
    pub fn built_in() -> &'static Self {
        static BUILT_IN: OnceLock<Rows> = OnceLock::new();
        BUILT_IN.get_or_init(Self::default)
    }

    /// The rows of the table and these.
    pub fn with(custom: Vec<&'static Resource>) -> Self {
        Self { custom, documents: OnceLock::new() }
    }

    /// Every row, in the order of discovery.
    pub fn iter(&self) -> impl Iterator<Item = &'static Resource> + Clone + '_ {
        TABLE.iter().chain(self.custom.iter().copied())
    }

    /// The row served at `/apis/{group}/{version}/{plural}`.
    pub fn find(&self, group: &str, version: &str, plural: &str) -> Option<&'static Resource> {
        self.iter().find(|it| it.plural == plural && it.group == group && it.version == version)
    }

    /// The rows that come from definitions.
    pub fn custom(&self) -> &[&'static Resource] {
        &self.custom
    }

    /// The OpenAPI documents of these rows, made when they are asked for first.
    pub fn documents(&self) -> &Documents {
        self.documents.get_or_init(|| Documents::of(self))
    }
}

/// The rows that a server serves, and who waits for one of them to go.
#[derive(Debug, Default)]
pub struct Registry {
    rows: RwLock<Arc<Rows>>,
    served: Mutex<HashMap<String, CancellationToken>>,
}

impl Registry {
    /// What is served now.
    pub fn rows(&self) -> Arc<Rows> {
        self.rows.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Cancelled when a row is no longer served. Rows of the table always are.
    pub fn gone(&self, resource: &Resource) -> CancellationToken {
        if !matches!(resource.strategy, Strategy::Custom(_)) {
            return CancellationToken::new();
        }
        let rows = self.rows.read().unwrap_or_else(PoisonError::into_inner);
        let token = CancellationToken::new();
        let wanted = identity(resource);
        if !rows.custom.iter().any(|it| identity(it) == wanted) {
            token.cancel();
            return token;
        }
        // Still under the lock of the rows: nothing goes between the look and the note.
        self.served.lock().unwrap_or_else(PoisonError::into_inner).entry(wanted).or_insert(token).clone()
    }

    /// Reads the definitions of a store anew.
    pub fn refresh(&self, store: &Store) {
        // The lock is held while the store is read, so that of two that refresh at once the later one has read last.
        let mut rows = self.rows.write().unwrap_or_else(PoisonError::into_inner);
        let mut definitions: Vec<Value> = store.latest_of(COLLECTION, "").iter().map(|it| it.value()).collect();
        definitions.sort_by(|a, b| text(a, "metadata.name").cmp(text(b, "metadata.name")));
        let custom: Vec<&'static Resource> =
            definitions.iter().filter(|it| naming::is_served(it)).flat_map(|it| rows::of(it)).copied().collect();
        let same =
            rows.custom.len() == custom.len() && rows.custom.iter().zip(&custom).all(|(a, b)| std::ptr::eq(*a, *b));
        if !same {
            *rows = Arc::new(Rows::with(custom));
        }
        let mut served = self.served.lock().unwrap_or_else(PoisonError::into_inner);
        served.retain(|name, token| {
            let stays = rows.custom.iter().any(|it| identity(it) == *name);
            if !stays {
                token.cancel();
            }
            stays
        });
    }
}

fn identity(resource: &Resource) -> String {
    format!("{}/{}/{}", resource.group, resource.version, resource.plural)
}
