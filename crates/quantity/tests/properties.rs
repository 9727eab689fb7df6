//! What holds for every quantity, whatever is fed to it.

use std::cmp::Ordering;

use proptest::prelude::*;
use supple_quantity::{Bytes, MilliCpu, Quantity};

/// Texts of the grammar, most of them usual, some enormous.
fn quantity_text() -> impl Strategy<Value = String> {
    let suffix = prop_oneof![
        Just(String::new()),
        prop::sample::select(vec!["n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"])
            .prop_map(str::to_owned),
        (-12i32..24).prop_map(|exponent| format!("e{exponent}")),
    ];
    ("[+-]?[0-9]{1,22}(\\.[0-9]{0,12})?", suffix).prop_map(|(number, suffix)| number + &suffix)
}

fn parse(text: &str) -> Quantity {
    text.parse().expect("the strategy makes texts of the grammar")
}

proptest! {
    #[test]
    fn any_text_parses_or_is_refused(text in "\\PC{0,40}") {
        let _ = text.parse::<Quantity>().map(|q| (q.to_string(), q.value(), q.milli(), Bytes::from(&q), MilliCpu::from(&q)));
    }

    #[test]
    fn printing_loses_nothing(text in quantity_text()) {
        let quantity = parse(&text);
        let printed = quantity.to_string();
        let again = parse(&printed);
        // A binary sum may exceed the cap, but a parsed value is within it, so equality holds for all.
        prop_assert_eq!(&again, &quantity, "{} printed as {}", text, printed);
    }

    #[test]
    fn what_is_enormous_is_refused_or_read_again(
        digits in "-?[0-9]{1,4}", zeros in 0usize..4_100, fraction in "(\\.[0-9]{0,4})?", exponent in 0i32..4_100,
    ) {
        let text = format!("{digits}{}{fraction}e{exponent}", "0".repeat(zeros));
        if let Ok(quantity) = text.parse::<Quantity>() {
            prop_assert_eq!(quantity.to_string().parse::<Quantity>(), Ok(quantity));
        }
    }

    #[test]
    fn canonical_form_is_a_fixed_point(text in quantity_text()) {
        let zero = Quantity::ZERO;
        // Adding zero drops the remembered text, so this is the canonical form.
        let canonical = (parse(&text) + &zero).to_string();
        prop_assert_eq!((parse(&canonical) + &zero).to_string(), canonical);
    }

    #[test]
    fn subtraction_undoes_addition(a in quantity_text(), b in quantity_text()) {
        let (a, b) = (parse(&a), parse(&b));
        prop_assert_eq!(a.clone() + &b - &b, a);
    }

    #[test]
    fn addition_commutes_by_value(a in quantity_text(), b in quantity_text()) {
        let (a, b) = (parse(&a), parse(&b));
        prop_assert_eq!(a.clone() + &b, b + &a);
    }

    #[test]
    fn order_is_the_sign_of_the_difference(a in quantity_text(), b in quantity_text()) {
        let (a, b) = (parse(&a), parse(&b));
        prop_assert_eq!(a.cmp(&b), (a - &b).sign().cmp(&0));
    }

    #[test]
    fn rounding_goes_away_from_zero_and_settles(text in quantity_text()) {
        let exact = parse(&text);
        let mut rounded = exact.clone();
        rounded.round_up_to_milli();
        let away = if exact.sign() < 0 { Ordering::Less } else { Ordering::Greater };
        prop_assert!(rounded == exact || rounded.cmp(&exact) == away);
        let mut twice = rounded.clone();
        twice.round_up_to_milli();
        prop_assert_eq!(twice.to_string(), rounded.to_string());
    }

    #[test]
    fn saturating_views_bound_the_value(text in quantity_text()) {
        let quantity = parse(&text);
        let (Bytes(bytes), MilliCpu(milli)) = (Bytes::from(&quantity), MilliCpu::from(&quantity));
        prop_assert!(bytes == i64::MAX || Quantity::units(bytes) >= quantity);
        prop_assert!(bytes == i64::MIN || bytes == i64::MAX || Quantity::units(bytes - 1) < quantity);
        prop_assert!(milli == i64::MAX || Quantity::milli_units(milli) >= quantity);
    }

    #[test]
    fn json_round_trip(text in quantity_text()) {
        let quantity = parse(&text);
        let json = serde_json::to_string(&quantity).unwrap();
        prop_assert_eq!(serde_json::from_str::<Quantity>(&json).unwrap().to_string(), quantity.to_string());
    }
}
