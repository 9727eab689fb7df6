//! How objects are kept that nobody has written or followed for a while: as what makes them different from another of their
//! kind. Of ten thousand pods of one template each has a name, a UID and some times of its own, a tenth of its text. Reading
//! one back is a few copies, so nobody need be told which of them are kept so.
//!
//! ```text
//!   packed = { own text · how much of the other's follows, and from where } …
//! ```

use std::collections::HashMap;
use std::sync::Arc;

/// Bytes by which a place in a base is looked up.
const GRAM: usize = 8;

/// Fewest bytes worth a copy from where the two texts are in step.
const STEP: usize = 4;

/// Places of a base that are remembered: a power of two.
const SLOTS: usize = 2048;

/// A text is told well in less than this part of it.
const GOOD: usize = 4;

/// Bases a resource has at a time.
const BASES: usize = 12;

/// How many of them are tried for a text.
const TRIES: usize = 6;

/// Texts shorter than this are left alone: what is kept of them would be as large.
const SHORTEST: usize = 192;

/// A text that others are told by.
#[derive(Debug)]
pub(super) struct Base(Box<[u8]>);

/// A text as what is different from a base.
#[derive(Debug)]
pub(super) struct Packed {
    base: Arc<Base>,
    own: Box<[u8]>,
    length: usize,
}

impl Packed {
    /// Writes the text.
    pub(super) fn unpack_to(&self, out: &mut Vec<u8>) {
        out.reserve_exact(self.length);
        let base = &self.base.0;
        let (mut own, mut expected) = (&*self.own, 0_usize);
        while !own.is_empty() {
            let count = number(&mut own);
            let (text, rest) = own.split_at(count);
            out.extend_from_slice(text);
            own = rest;
            let count = number(&mut own);
            if count > 0 {
                let from = expected.wrapping_add_signed(unfolded(number(&mut own)));
                out.extend_from_slice(&base[from..from + count]);
                expected = from + count;
            }
        }
    }
}

/// The bases of all resources.
#[derive(Debug, Default)]
pub(super) struct Bases(HashMap<Box<str>, Shelf>);

/// Those of one resource.
#[derive(Debug, Default)]
struct Shelf {
    /// The one that was of use last first.
    bases: Vec<Indexed>,
    /// How many texts they have told badly.
    badly: usize,
}

impl Bases {
    /// The text packed; `None` where nothing would be won.
    pub(super) fn pack(&mut self, resource: &str, text: &[u8]) -> Option<Packed> {
        if text.len() < SHORTEST {
            return None;
        }
        if !self.0.contains_key(resource) {
            self.0.insert(resource.into(), Shelf::default());
        }
        self.0.get_mut(resource)?.pack(text)
    }
}

impl Shelf {
    fn pack(&mut self, text: &[u8]) -> Option<Packed> {
        let (at, own) = match self.told(text) {
            Some((at, own)) if own.len() < text.len() / GOOD || !self.wants_more() => (at, own),
            // Nothing like it has been seen, or too little: others are told by this one from now on.
            _ => {
                self.bases.truncate(BASES - 1);
                let base = Indexed::new(text);
                let own = base.difference(text, text.len())?;
                self.bases.insert(0, base);
                (0, own)
            }
        };
        self.bases[..=at].rotate_right(1);
        Some(Packed { base: Arc::clone(&self.bases[0].base), own: own.into_boxed_slice(), length: text.len() })
    }

    /// The text as the first base tells it that tells it well, else as the best does.
    fn told(&self, text: &[u8]) -> Option<(usize, Vec<u8>)> {
        let mut best: Option<(usize, Vec<u8>)> = None;
        for (at, base) in self.bases.iter().enumerate().take(TRIES) {
            let most = best.as_ref().map_or(text.len() / 2, |(_, own)| own.len());
            if let Some(own) = base.difference(text, most) {
                let is_good = own.len() < text.len() / GOOD;
                best = Some((at, own));
                if is_good {
                    break;
                }
            }
        }
        best
    }

    /// Whether a text that is told badly is to be a base: the first, the second, the fourth …. What changes for good, as a pod
    /// does when its node has written its status, is soon told well; what is never twice the same does not make a base of each.
    fn wants_more(&mut self) -> bool {
        self.badly += 1;
        self.badly.is_power_of_two()
    }
}

/// A base, and where in it eight bytes stand.
#[derive(Debug)]
struct Indexed {
    base: Arc<Base>,
    /// By a hash of the bytes; zero: nowhere, else one more than the place.
    places: Box<[u16]>,
}

impl Indexed {
    fn new(text: &[u8]) -> Self {
        let mut places = vec![0; SLOTS].into_boxed_slice();
        // The last of equal ones is remembered; places beyond 65,535 are not.
        for (at, gram) in (1..=u16::MAX).zip(text.windows(GRAM)) {
            places[slot(gram)] = at;
        }
        Self { base: Arc::new(Base(text.into())), places }
    }

    /// What is different, in fewer than `most` bytes.
    fn difference(&self, text: &[u8], most: usize) -> Option<Vec<u8>> {
        let base = &*self.base.0;
        let mut out = Vec::with_capacity(512);
        // Up to where the text is told, and what the base has there.
        let (mut told, mut expected) = (0, 0);
        let mut at = 0;
        while at < text.len() {
            let in_step = expected + (at - told);
            let found = match common(&text[at..], base.get(in_step..).unwrap_or_default()) {
                count if count >= STEP => Some((in_step, count)),
                _ => self.find(&text[at..]),
            };
            let Some((mut from, mut count)) = found else {
                at += 1;
                if at - told > most {
                    return None;
                }
                continue;
            };
            while at > told && from > 0 && text[at - 1] == base[from - 1] {
                (at, from, count) = (at - 1, from - 1, count + 1);
            }
            put(&mut out, at - told);
            out.extend_from_slice(&text[told..at]);
            put(&mut out, count);
            put(&mut out, folded(from.wrapping_sub(expected).cast_signed()));
            (told, expected) = (at + count, from + count);
            at = told;
            if out.len() >= most {
                return None;
            }
        }
        if told < text.len() {
            put(&mut out, text.len() - told);
            out.extend_from_slice(&text[told..]);
            put(&mut out, 0);
        }
        (out.len() < most).then_some(out)
    }

    /// Where in the base what this begins with stands, and how much of it.
    fn find(&self, text: &[u8]) -> Option<(usize, usize)> {
        let at = usize::from(self.places[slot(text.get(..GRAM)?)]).checked_sub(1)?;
        let count = common(text, &self.base.0[at..]);
        (count >= GRAM).then_some((at, count))
    }
}

fn slot(gram: &[u8]) -> usize {
    let word = gram.iter().fold(0_u64, |word, byte| word << 8 | u64::from(*byte));
    // Fibonacci hashing: the upper bits of the product depend on all of the bytes.
    usize::try_from(word.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 53).expect("eleven bits") & (SLOTS - 1)
}

/// How many bytes both begin with.
fn common(one: &[u8], other: &[u8]) -> usize {
    let words = one.as_chunks::<16>().0.iter().zip(other.as_chunks::<16>().0);
    let words = words.take_while(|(one, other)| one == other).count() * 16;
    words + one[words..].iter().zip(&other[words..]).take_while(|(one, other)| one == other).count()
}

/// Writes a number, seven bits a byte, the lowest first.
fn put(out: &mut Vec<u8>, mut number: usize) {
    while number >= 0x80 {
        out.push(u8::try_from(number & 0x7f).expect("seven bits") | 0x80);
        number >>= 7;
    }
    out.push(u8::try_from(number).expect("seven bits"));
}

/// Reads it, and leaves what follows.
fn number(text: &mut &[u8]) -> usize {
    let (mut number, mut shift) = (0, 0);
    while let Some((byte, rest)) = text.split_first() {
        *text = rest;
        number |= usize::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            break;
        }
    }
    number
}

/// A number near zero as one without a sign that is small.
fn folded(number: isize) -> usize {
    ((number << 1) ^ (number >> (isize::BITS - 1))).cast_unsigned()
}

fn unfolded(number: usize) -> isize {
    (number >> 1).cast_signed() ^ -(number & 1).cast_signed()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn unpacked(packed: &Packed) -> Vec<u8> {
        let mut out = b"before".to_vec();
        packed.unpack_to(&mut out);
        out.split_off(6)
    }

    fn pod(number: usize) -> String {
        let labels = "\"app\":\"bench\",\"tier\":\"backend\",\"version\":\"1.2.3\"";
        let conditions = "{\"type\":\"Ready\",\"status\":\"True\",\"lastTransitionTime\":\"2026-01-01T00:00:0";
        format!(
            "{{\"metadata\":{{\"name\":\"pod-{number:05}\",\"labels\":{{{labels}}},\"uid\":\"{:032x}\"}},\
             \"spec\":{{\"containers\":[{{\"name\":\"app\",\"image\":\"registry.example/app:1\"}}]}},\
             \"status\":{{\"conditions\":[{conditions}{}Z\"}}]}}}}",
            number.wrapping_mul(0x9e37_79b9_7f4a_7c15),
            number % 10
        )
    }

    #[test]
    fn what_is_like_another_takes_little_room() {
        let mut bases = Bases::default();
        for number in 0..50 {
            let text = pod(number);
            let packed = bases.pack("pods", text.as_bytes()).unwrap();
            assert_eq!(unpacked(&packed), text.as_bytes());
            assert!(packed.own.len() < text.len() / 4, "{} of {}", packed.own.len(), text.len());
        }
        assert_eq!(bases.0["pods"].bases.len(), 1);
    }

    #[test]
    fn what_has_grown_in_common_makes_a_base_of_its_own() {
        let mut bases = Bases::default();
        let status: String = (0..40).map(|it| format!(",\"f:field{}\":{{}}", it * 7919)).collect();
        let grown = |number| pod(number).replace("\"status\":{", &format!("\"grown\":[0{status}],\"status\":{{"));
        for number in 0..50 {
            bases.pack("pods", pod(number).as_bytes()).unwrap();
        }
        for number in 0..50 {
            let text = grown(number);
            let packed = bases.pack("pods", text.as_bytes()).unwrap();
            assert_eq!(unpacked(&packed), text.as_bytes());
            assert!(packed.own.len() < text.len() / GOOD, "{} of {}", packed.own.len(), text.len());
        }
        assert_eq!(bases.0["pods"].bases.len(), 2);
    }

    #[test]
    fn what_is_never_twice_the_same_does_not_make_a_base_of_each() {
        let mut bases = Bases::default();
        let common = pod(0);
        let mut word = 1_u64;
        for _ in 0..1000 {
            let own: String = (0..20)
                .map(|_| {
                    word = word.wrapping_mul(0x5851_f42d_4c95_7f2d) + 1;
                    format!("{word:x}")
                })
                .collect();
            let text = format!("{common}{}", &own[..common.len() / 2]);
            bases.pack("pods", text.as_bytes()).unwrap();
        }
        assert!((2..=BASES).contains(&bases.0["pods"].bases.len()), "{}", bases.0["pods"].bases.len());
    }

    #[test]
    fn what_is_short_is_left_alone() {
        assert!(Bases::default().pack("pods", &[b'x'; SHORTEST - 1]).is_none());
    }

    #[test]
    fn many_kinds_of_text_do_not_make_bases_without_end() {
        let mut bases = Bases::default();
        for kind in 0..100_u64 {
            let mut word = kind + 1;
            let text: Vec<u8> = std::iter::repeat_with(|| {
                word ^= word << 13;
                word ^= word >> 7;
                word ^= word << 17;
                word.to_le_bytes()[0]
            })
            .take(600)
            .collect();
            assert_eq!(unpacked(&bases.pack("configmaps", &text).unwrap()), text);
        }
        assert_eq!(bases.0["configmaps"].bases.len(), BASES);
    }

    proptest! {
        /// Whatever the texts are, they come back.
        #[test]
        fn every_text_comes_back(texts in prop::collection::vec(prop::collection::vec(0..4_u8, 0..900), 1..12)) {
            let mut bases = Bases::default();
            for text in texts {
                if let Some(packed) = bases.pack("pods", &text) {
                    prop_assert_eq!(unpacked(&packed), text);
                }
            }
        }

        #[test]
        fn numbers_come_back(numbers in prop::collection::vec(any::<isize>(), 0..20)) {
            let mut out = Vec::new();
            numbers.iter().for_each(|it| put(&mut out, folded(*it)));
            let mut text = &*out;
            for expected in numbers {
                prop_assert_eq!(unfolded(number(&mut text)), expected);
            }
            prop_assert!(text.is_empty());
        }
    }
}
