//! What webhooks want the client to be told, in bounds: each text once, and not more than a client will read.

/// As long as all texts together are shorter than this, they are passed on whole.
const WHOLE: usize = 4096;

/// Beyond [`WHOLE`], each text is cut after this many characters.
const CUT: usize = 256;

/// Texts for `Warning` headers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Warnings(Vec<String>);

impl Warnings {
    /// Adds texts that are not there yet.
    pub fn extend(&mut self, texts: impl IntoIterator<Item = String>) {
        for text in texts {
            if !text.is_empty() && !self.0.contains(&text) {
                self.0.push(text);
            }
        }
    }

    /// The texts that are sent.
    pub fn shown(&self) -> Vec<String> {
        let all: usize = self.0.iter().map(|text| text.chars().count()).sum();
        if all <= WHOLE {
            return self.0.clone();
        }
        let cut = self.0.iter().map(|text| text.chars().take(CUT).collect::<String>());
        let mut room = WHOLE;
        cut.take_while(|text| {
            let length = text.chars().count();
            let fits = length <= room;
            room = room.saturating_sub(length);
            fits
        })
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_passed_on_once_and_in_bounds() {
        let check = |texts: &[&str], expected: &[usize]| {
            let mut warnings = Warnings::default();
            warnings.extend(texts.iter().map(|text| (*text).to_owned()));
            let lengths: Vec<usize> = warnings.shown().iter().map(|text| text.chars().count()).collect();
            assert_eq!(lengths, expected);
        };
        let (long, other) = ("é".repeat(4000), "b".repeat(200));
        check(&[], &[]);
        check(&["a", "a", "", "bc"], &[1, 2]);
        check(&[&long], &[4000]);
        check(&[&long, &other], &[256, 200]);
        let many: Vec<String> = (0..40).map(|index| format!("{index:0300}")).collect();
        check(&many.iter().map(String::as_str).collect::<Vec<_>>(), &[256; 16]);
    }
}
