//! Quantities: what is printed is read again as the same, and order and arithmetic agree.

#![no_main]

use libfuzzer_sys::fuzz_target;
use supple_quantity::Quantity;

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    let (left, right) = text.split_once(' ').unwrap_or((&text, "1"));
    let (Ok(left), Ok(right)) = (left.parse::<Quantity>(), right.parse::<Quantity>()) else { return };
    let again: Quantity = left.to_string().parse().expect("what it prints it reads");
    assert_eq!(again.cmp(&left), std::cmp::Ordering::Equal, "{left} is read as {again}");
    assert_eq!(left.cmp(&right), right.cmp(&left).reverse());
    let _ = (left.value(), left.milli(), left.sign(), left.is_zero());
});
