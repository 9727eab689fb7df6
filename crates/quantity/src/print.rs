//! Quantity to text: the canonical form.

use std::fmt;

use num_bigint::{BigInt, Sign};

use crate::amount::{Amount, Big, scale_up};
use crate::{Format, Quantity};

/// Suffixes of powers of 1000, from a billionth (10^-9) on.
const DECIMAL: [&str; 10] = ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"];
/// Suffixes of powers of 1024.
const BINARY: [&str; 7] = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];

impl fmt::Display for Quantity {
    /// The canonical form: no fraction, the largest suffix that loses nothing. A binary quantity below 1024 or with a
    /// fraction prints in decimal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(text) = &self.text {
            return f.pad(text);
        }
        match &self.amount {
            Amount::Small { value: 0, .. } => f.pad("0"),
            Amount::Small { value, exponent } => {
                let written = match self.format {
                    Format::BinarySI => write_small_binary(f, *value, *exponent)?,
                    format => write_small_decimal(f, *value, *exponent, format)?,
                };
                if written { Ok(()) } else { write_big(f, &self.amount.to_big(), self.format) }
            }
            Amount::Big(big) => write_big(f, big, self.format),
        }
    }
}

/// Digits and suffix, padded as one text.
struct Line {
    bytes: [u8; 40],
    start: usize,
}

impl Line {
    /// The digits of `value`, right-aligned; nothing after them.
    fn write(f: &mut fmt::Formatter<'_>, value: i64, suffix: &str) -> fmt::Result {
        let mut line = Line { bytes: [0; 40], start: 40 };
        for byte in suffix.bytes().rev() {
            line.push(byte);
        }
        let mut rest = value.unsigned_abs();
        loop {
            // A remainder by ten is one digit.
            line.push(b'0' + u8::try_from(rest % 10).unwrap_or(0));
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        if value < 0 {
            line.push(b'-');
        }
        f.pad(std::str::from_utf8(&line.bytes[line.start..]).unwrap_or_default())
    }

    fn push(&mut self, byte: u8) {
        self.start -= 1;
        self.bytes[self.start] = byte;
    }
}

/// Whether it was written: a number that no longer fits 64 bits on the way is left to [`write_big`].
fn write_small_decimal(
    f: &mut fmt::Formatter<'_>,
    mut value: i64,
    mut exponent: i32,
    format: Format,
) -> Result<bool, fmt::Error> {
    while value % 10 == 0 {
        value /= 10;
        exponent += 1;
    }
    let suffix_exponent = suffix_exponent(exponent, format);
    let Some(value) = scale_up(value, exponent, suffix_exponent) else {
        return Ok(false);
    };
    match format {
        Format::DecimalExponent if suffix_exponent == 0 => Line::write(f, value, "")?,
        Format::DecimalExponent => f.pad(&format!("{value}e{suffix_exponent}"))?,
        _ => Line::write(f, value, decimal_suffix(suffix_exponent))?,
    }
    Ok(true)
}

fn write_small_binary(f: &mut fmt::Formatter<'_>, value: i64, exponent: i32) -> Result<bool, fmt::Error> {
    // A fraction (negative exponent) may still be a whole number; that rare case is left to the exact way.
    if exponent < 0 {
        return Ok(false);
    }
    let Some(value) = scale_up(value, exponent, 0) else {
        return Ok(false);
    };
    if value.unsigned_abs() < 1024 {
        return write_small_decimal(f, value, 0, Format::DecimalSI);
    }
    let power = (value.trailing_zeros() / 10).min(6);
    Line::write(f, value >> (power * 10), BINARY[power as usize])?;
    Ok(true)
}

fn write_big(f: &mut fmt::Formatter<'_>, big: &Big, format: Format) -> fmt::Result {
    if big.value.sign() == Sign::NoSign {
        return f.pad("0");
    }
    if format == Format::BinarySI {
        let (whole, exact) = big.rounded_away(0);
        if exact && *whole.magnitude() >= 1024u32.into() {
            let power = whole.trailing_zeros().unwrap_or(0).checked_div(10).unwrap_or(0).min(6);
            let suffix = usize::try_from(power).ok().and_then(|power| BINARY.get(power)).copied().unwrap_or("");
            return f.pad(&format!("{}{suffix}", whole >> (power * 10)));
        }
    }
    let format = if format == Format::BinarySI { Format::DecimalSI } else { format };
    let (digits, zeros) = without_zeros(&big.value);
    let exponent = big.exponent.saturating_add(zeros);
    let suffix_exponent = suffix_exponent(exponent, format);
    let shift = usize::try_from(exponent - suffix_exponent).unwrap_or(0);
    let number = digits + &"0".repeat(shift);
    match format {
        Format::DecimalExponent if suffix_exponent == 0 => f.pad(&number),
        Format::DecimalExponent => f.pad(&format!("{number}e{suffix_exponent}")),
        _ => f.pad(&(number + decimal_suffix(suffix_exponent))),
    }
}

/// The digits without the zeros at their end, and how many those were.
fn without_zeros(value: &BigInt) -> (String, i32) {
    let mut digits = value.to_string();
    let kept = digits.trim_end_matches('0').len();
    let zeros = i32::try_from(digits.len() - kept).unwrap_or(0);
    digits.truncate(kept);
    (digits, zeros)
}

/// The largest multiple of three not above `exponent`. Letters end at `E` (10^18): beyond it, digits grow. (The reference drops
/// the suffix there and prints `1000E` as `1`.)
fn suffix_exponent(exponent: i32, format: Format) -> i32 {
    let floor = exponent.div_euclid(3) * 3;
    if format == Format::DecimalExponent { floor } else { floor.min(18) }
}

fn decimal_suffix(exponent: i32) -> &'static str {
    usize::try_from(exponent / 3 + 3).ok().and_then(|index| DECIMAL.get(index)).copied().unwrap_or("")
}
