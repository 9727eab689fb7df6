//! Text to quantity: the grammar, the fast way for usual values, the exact way for all.

use std::str::FromStr;

use num_bigint::{BigInt, Sign};

use crate::amount::{Amount, Big};
use crate::{Format, Quantity};

/// Why a text is no quantity. The texts are the reference's; people grep for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// Not of the form number and suffix.
    #[error("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")]
    Malformed,
    /// A suffix that is none (`1K`, `1e`), or an exponent that makes an amount of 10^4096 or more, which the reference would take
    /// (see the table of deliberate differences).
    #[error("unable to parse quantity's suffix")]
    Suffix,
    /// A suffix without any digit before it.
    #[error("unable to parse numeric part of quantity")]
    Number,
}

/// The longest text accepted, and the most digits that an exponent may make of it. The reference has no bound and can be made to
/// compute with numbers of gigabytes by a few bytes of input (`1e2000000000`); no real amount comes near this one. An amount
/// within both is printed in a text that is read again.
const MAX_TEXT: usize = 4096;

/// The smallest amount: a billionth.
const NANO: i32 = -9;

/// Decimal digits an `i64` always holds.
const SAFE_DIGITS: usize = 18;

/// The largest magnitude of a binary quantity.
const MAX_BINARY: i64 = i64::MAX;

/// What a suffix says.
#[derive(Clone, Copy)]
enum Scale {
    /// `× 10^n`, written as a letter.
    Decimal(i32),
    /// `× 10^n`, written as an exponent.
    Exponent(i32),
    /// `× 2^n`.
    Binary(u32),
}

/// A text cut into its parts.
struct Parts<'a> {
    negative: bool,
    /// Digits before the point without leading zeros; empty if there are none.
    whole: &'a [u8],
    /// Digits after the point.
    fraction: &'a [u8],
    suffix: &'a [u8],
    /// Whether there was any digit at all.
    digits: bool,
    /// Whether a canonical printer would write sign and number in just this way.
    plain: bool,
}

impl FromStr for Quantity {
    type Err = ParseError;

    /// Parses without allocating where the value fits 64 bits, which all usual ones do.
    ///
    /// # Errors
    /// [`ParseError`], with the reference's text.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        if text.is_empty() || text.len() > MAX_TEXT {
            return Err(ParseError::Malformed);
        }
        let parts = split(text.as_bytes())?;
        let scale = interpret(parts.suffix)?;
        if let Scale::Exponent(exponent) = scale
            && usize::try_from(exponent).is_ok_and(|it| it.saturating_add(parts.whole.len()) > MAX_TEXT)
        {
            return Err(ParseError::Suffix);
        }
        match fast(&parts, scale, text) {
            Some(quantity) => Ok(quantity),
            None => exact(&parts, scale),
        }
    }
}

/// Length of the run of bytes at the start of `bytes` for which `test` holds.
fn run(bytes: &[u8], test: impl Fn(u8) -> bool) -> usize {
    bytes.iter().position(|byte| !test(*byte)).unwrap_or(bytes.len())
}

fn split(text: &[u8]) -> Result<Parts<'_>, ParseError> {
    let (negative, plus, unsigned) = match text {
        [b'-', rest @ ..] => (true, false, rest),
        [b'+', rest @ ..] => (false, true, rest),
        rest => (false, false, rest),
    };
    let zeros = run(unsigned, |byte| byte == b'0');
    let rest = &unsigned[zeros..];
    let (whole, rest) = rest.split_at(run(rest, |byte| byte.is_ascii_digit()));
    let (point, fraction, suffix) = match rest {
        [b'.', rest @ ..] => {
            let (fraction, suffix) = rest.split_at(run(rest, |byte| byte.is_ascii_digit()));
            (true, fraction, suffix)
        }
        suffix => (false, &rest[..0], suffix),
    };
    // A suffix is letters, one optional sign, digits; which of those mean something is `interpret`'s to say.
    let letters = run(suffix, |byte| b"eEinumkKMGTP".contains(&byte));
    let after = suffix[letters..].strip_prefix(b"-").or_else(|| suffix[letters..].strip_prefix(b"+"));
    let digits = after.unwrap_or(&suffix[letters..]);
    if !digits.iter().all(u8::is_ascii_digit) {
        return Err(ParseError::Malformed);
    }
    Ok(Parts {
        negative,
        whole,
        fraction,
        suffix,
        digits: zeros + whole.len() + fraction.len() > 0,
        plain: !plus && !point && zeros == 0,
    })
}

fn interpret(suffix: &[u8]) -> Result<Scale, ParseError> {
    Ok(match suffix {
        b"" => Scale::Decimal(0),
        b"m" => Scale::Decimal(-3),
        b"Ki" => Scale::Binary(10),
        b"Mi" => Scale::Binary(20),
        b"Gi" => Scale::Binary(30),
        b"Ti" => Scale::Binary(40),
        b"Pi" => Scale::Binary(50),
        b"Ei" => Scale::Binary(60),
        b"n" => Scale::Decimal(-9),
        b"u" => Scale::Decimal(-6),
        b"k" => Scale::Decimal(3),
        b"M" => Scale::Decimal(6),
        b"G" => Scale::Decimal(9),
        b"T" => Scale::Decimal(12),
        b"P" => Scale::Decimal(15),
        b"E" => Scale::Decimal(18),
        [b'e' | b'E', exponent @ ..] if !exponent.is_empty() => {
            let exponent = std::str::from_utf8(exponent).ok().and_then(|digits| digits.parse::<i32>().ok());
            Scale::Exponent(exponent.ok_or(ParseError::Suffix)?)
        }
        _ => return Err(ParseError::Suffix),
    })
}

/// The value in 64 bits, if the reference too would hold it so: `None` sends it the exact way. Which way is taken is
/// observable (see [`Amount`]), so the bounds are the reference's and not "whatever fits".
fn fast(parts: &Parts<'_>, scale: Scale, text: &str) -> Option<Quantity> {
    // An absent number counts as one digit, the zero it stands for.
    let whole_digits = parts.whole.len().max(1);
    let digits = whole_digits + parts.fraction.len();
    let (format, exponent, multiplier) = match scale {
        Scale::Decimal(exponent) => (Format::DecimalSI, exponent, 1),
        Scale::Exponent(exponent) => (Format::DecimalExponent, exponent, 1),
        Scale::Binary(shift) => {
            // 2^10 is about three decimal digits; 15 leaves a margin below 2^53.
            let used = whole_digits + (shift as usize) * 3 / 10 + 1;
            if !parts.fraction.is_empty() || used > 15 {
                return None;
            }
            (Format::BinarySI, 0, 1i64 << shift)
        }
    };
    if digits > SAFE_DIGITS {
        return None;
    }
    // At most 18 digits: neither the cast nor the subtraction can overflow.
    let exponent = exponent.checked_sub(i32::try_from(parts.fraction.len()).ok()?)?;
    if exponent < NANO {
        return None;
    }
    let number = parts.whole.iter().chain(parts.fraction).fold(0i64, |n, digit| n * 10 + i64::from(digit - b'0'));
    let magnitude = number.checked_mul(multiplier)?;
    let value = if parts.negative { -magnitude } else { magnitude };
    let text = keeps_text(parts, scale, exponent).then(|| text.into());
    Some(Quantity { amount: Amount::Small { value, exponent }, format, text })
}

/// Whether the reference prints such a quantity as it was written rather than canonically, and that differs: it takes a decimal
/// number for canonical when its exponent is a multiple of three and it has no zero at the front or three at the end.
fn keeps_text(parts: &Parts<'_>, scale: Scale, exponent: i32) -> bool {
    if parts.plain && matches!(scale, Scale::Decimal(_)) {
        return false;
    }
    let zeros_at_end = parts.whole.iter().chain(parts.fraction).rev().take_while(|digit| **digit == b'0').count();
    !matches!(scale, Scale::Binary(_)) && exponent % 3 == 0 && !parts.whole.is_empty() && zeros_at_end < 3
}

/// Any value, exactly, then rounded up to a billionth and, if binary, capped.
fn exact(parts: &Parts<'_>, scale: Scale) -> Result<Quantity, ParseError> {
    if !parts.digits {
        return Err(ParseError::Number);
    }
    let digits = [parts.whole, parts.fraction].concat();
    let mut value = BigInt::parse_bytes(&digits, 10).unwrap_or_default();
    let (mut format, exponent) = match scale {
        Scale::Decimal(exponent) => (Format::DecimalSI, exponent),
        Scale::Exponent(exponent) => (Format::DecimalExponent, exponent),
        Scale::Binary(shift) => {
            value <<= shift;
            (Format::BinarySI, 0)
        }
    };
    // The fraction is at most MAX_TEXT long.
    let fraction = i64::try_from(parts.fraction.len()).unwrap_or(i64::MAX);
    let mut amount = to_nano(value, i64::from(exponent) - fraction);
    if format == Format::BinarySI {
        let (one, cap) = (BigInt::from(1_000_000_000), BigInt::from(MAX_BINARY) * BigInt::from(1_000_000_000));
        if amount.value > cap {
            amount = Big { value: BigInt::from(MAX_BINARY), exponent: 0 };
        } else if amount.value < one && amount.value.sign() == Sign::Plus {
            format = Format::DecimalSI;
        }
    }
    let amount = Amount::Big(Box::new(amount));
    let amount = if parts.negative { amount.negated() } else { amount };
    Ok(Quantity { amount, format, text: None })
}

/// `value × 10^exponent` (not negative) in billionths, rounded up: whoever asks for something gets something.
fn to_nano(value: BigInt, exponent: i64) -> Big {
    let digits_below = i64::from(NANO) - exponent;
    // A text holds at most MAX_TEXT digits: shifted down further than that, only "more than nothing" is left.
    let value = if digits_below > MAX_TEXT as i64 {
        BigInt::from(u8::from(value.sign() != Sign::NoSign))
    } else {
        let exponent = i32::try_from(exponent).unwrap_or(i32::MIN);
        Big { value, exponent }.rounded_away(NANO).0
    };
    Big { value, exponent: NANO }
}
