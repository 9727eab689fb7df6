//! What people write into labels and annotations: how far we may go, and that we may not.

use supple_decide::policy::{Layer, Mode, Origin, Pause};

use crate::names;
use crate::problem::{Problem, Problems};

/// The mode a word stands for: `recommend` and `in-place`, or a word of `updateMode`. `None`: not a word of ours.
///
/// ```
/// use supple_api::words::mode;
/// use supple_decide::policy::Mode;
///
/// assert_eq!(mode("recommend"), Some(Mode::Off));
/// assert_eq!(mode("in-place"), Some(Mode::InPlace));
/// assert_eq!(mode("InPlaceOrRecreate"), Some(Mode::InPlaceOrRecreate));
/// assert_eq!(mode("yes please"), None);
/// ```
#[must_use]
pub fn mode(word: &str) -> Option<Mode> {
    Mode::of_word(word)
}

/// The words [`mode`] knows, for messages.
pub const MODES: &str = Mode::WORDS;

/// The pause an annotation stands for: empty or `false` is none; what begins with a time ends then; everything else is the
/// reason of one that ends when the annotation goes.
///
/// ```
/// use supple_api::words::pause;
///
/// assert_eq!(pause("false"), None);
/// assert_eq!(pause("true").unwrap().until, None);
/// let pause = pause("2026-12-01T06:00:00Z the sale, Ann").unwrap();
/// assert_eq!(pause.until, "2026-12-01T06:00:00Z".parse().ok());
/// assert_eq!(pause.why, "the sale, Ann");
/// ```
#[must_use]
pub fn pause(text: &str) -> Option<Pause> {
    Pause::of_words(text)
}

/// The layer that labels and annotations come to; a label goes before an annotation of the same name. A mode nobody
/// knows is `Off`: what was meant is not known, so nothing is done.
#[must_use]
pub fn layer<'a>(
    origin: Origin,
    object: &str,
    labels: impl Fn(&str) -> Option<&'a str>,
    annotations: impl Fn(&str) -> Option<&'a str>,
) -> (Layer, Vec<Problem>) {
    let mut problems = Problems::of(object);
    let mut layer = Layer { origin, ..Layer::default() };
    let label = labels(names::MODE).map(|it| ("labels", it));
    if let Some((list, word)) = label.or_else(|| annotations(names::MODE).map(|it| ("annotations", it))) {
        layer.mode = Some(mode(word).unwrap_or_else(|| {
            let message = format!("{word:?} is not a mode, so nothing is resized; write {MODES}");
            problems.add(format!("metadata.{list}[{}]", names::MODE), message);
            Mode::Off
        }));
    }
    layer.pause = annotations(names::PAUSED).and_then(pause).map(Some);
    (layer, problems.found)
}
