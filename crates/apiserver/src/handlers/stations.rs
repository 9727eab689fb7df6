//! The stations between an object that is complete and one that may be stored, the same for what is created and what is
//! replaced: the part of ARCHITECTURE's way of a resize that knows webhooks.

use serde_json::Value;

use super::hooks;
use crate::admission::webhook::{Panel, Warnings};
use crate::errors::ApiError;
use crate::route::Target;
use crate::strategy::{Admitted, Passage};

/// The webhooks that have a say in a write, and what they are shown.
pub(super) struct Asked<'p, 'a, Hide, Settle> {
    pub(super) panel: &'p Panel<'p>,
    pub(super) target: &'a Target,
    /// Who owns which field: what webhooks add is nobody's.
    pub(super) managed: &'p Value,
    /// The revision of what is replaced; none of what is created, whose name may have become known on the way.
    pub(super) replaces: Option<u64>,
    /// Takes away what they are not shown.
    pub(super) hide: Hide,
    /// Puts that back into what they have made of it.
    pub(super) settle: Settle,
}

/// Takes a write from station to station.
///
/// # Errors
/// The refusal of the first station that refuses: 422 of validation, else 403, or what a webhook says.
pub(super) async fn admitted<'a>(
    mut passage: Passage<'a>,
    asked: Option<
        Asked<'_, 'a, impl FnOnce(&mut Value) + Send, impl FnOnce(&mut Value) -> Result<(), ApiError> + Send>,
    >,
    warnings: &mut Warnings,
) -> Result<Admitted, ApiError> {
    let judges = match asked {
        None => None,
        Some(Asked { panel, target, managed, replaces, hide, settle }) => {
            hooks::change(panel, target, &mut passage, managed, warnings, hide, settle).await?;
            Some((panel, target, managed, replaces))
        }
    };
    passage.prepare();
    passage.validate()?;
    passage.admit()?;
    match judges {
        None => {}
        Some((panel, target, managed, None)) => {
            hooks::judge(&panel.named(passage.name()), target, &passage, managed, None, warnings).await?;
        }
        Some((panel, target, managed, replaces)) => {
            hooks::judge(panel, target, &passage, managed, replaces, warnings).await?;
        }
    }
    passage.charge()
}
