//! Quantities of Kubernetes: `500m`, `2`, `1.5Gi`, `1e3`.
//!
//! The contract lets through fewer forms than Kubernetes does, those that web clients can show. This reads all of them, so that
//! it can compare any two. What always holds: the value is exact to a thousand-millionth, which is the finest that Kubernetes
//! keeps, and rounded up beyond that, as it does; what it would cap is refused.

/// An amount, in thousand-millionths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Quantity(u128);

/// Units in one.
const ONE: u128 = 1_000_000_000;
/// The largest amount: that of 63 bits.
const MOST: u128 = (1 << 63) - 1;
/// The most digits that are read on either side of the point: more are never needed.
const MOST_DIGITS: usize = 19;

impl Quantity {
    /// The amount that this text states; nothing when it is no quantity, or one beyond `MOST`.
    pub fn parse(text: &str) -> Option<Self> {
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, suffix) = text.split_at(end);
        let (whole, part) = number.split_once('.').unwrap_or((number, ""));
        let is_number = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
        if (whole.is_empty() && part.is_empty()) || !is_number(part) {
            return None;
        }
        let (whole, part) = (whole.trim_start_matches('0'), part.trim_end_matches('0'));
        if whole.len() > MOST_DIGITS || part.len() > MOST_DIGITS {
            return None;
        }
        let unit = Unit::parse(suffix)?;
        let digits: u128 = format!("0{whole}{part}").parse().ok()?;
        // digits × unit ÷ 10^decimals, with as little in between as it takes
        let decimals = u32::try_from(part.len()).ok()?;
        let (up, down) = unit.over(decimals);
        let amount = digits.checked_mul(up)?.div_ceil(down);
        (amount <= MOST * ONE).then_some(Self(amount))
    }
}

/// What a number is multiplied by: powers of two and of ten.
#[derive(Debug, Clone, Copy)]
struct Unit {
    binary: u32,
    decimal: i32,
}

impl Unit {
    fn parse(suffix: &str) -> Option<Self> {
        let decimal = |decimal| Some(Self { binary: 0, decimal });
        let binary = |power: u32| Some(Self { binary: 10 * power, decimal: 0 });
        match suffix {
            "n" => decimal(-9),
            "u" => decimal(-6),
            "m" => decimal(-3),
            "" => decimal(0),
            "k" => decimal(3),
            "M" => decimal(6),
            "G" => decimal(9),
            "T" => decimal(12),
            "P" => decimal(15),
            "E" => decimal(18),
            "Ki" => binary(1),
            "Mi" => binary(2),
            "Gi" => binary(3),
            "Ti" => binary(4),
            "Pi" => binary(5),
            "Ei" => binary(6),
            _ => {
                let exponent = suffix.strip_prefix(['e', 'E'])?;
                let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
                let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
                let power = exponent.parse::<i32>().ok().filter(|power| plain && (-18..=18).contains(power))?;
                decimal(power)
            }
        }
    }

    /// This unit in thousand-millionths, over so many powers of ten, as a fraction without common powers of ten.
    fn over(self, decimals: u32) -> (u128, u128) {
        let power = self.decimal + 9 - i32::try_from(decimals).unwrap_or(i32::MAX);
        let ten = |power: u32| 10_u128.saturating_pow(power);
        let (up, down) = match u32::try_from(power) {
            Ok(power) => (ten(power), 1),
            Err(_) => (1, ten(power.unsigned_abs())),
        };
        (up.saturating_mul(1 << self.binary), down)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn amount(text: &str) -> Option<u128> {
        Quantity::parse(text).map(|quantity| quantity.0)
    }

    #[test]
    fn what_kubernetes_reads() {
        for (text, expected) in [
            ("0", 0),
            ("2", 2 * ONE),
            ("0.5", ONE / 2),
            (".5", ONE / 2),
            ("1.", ONE),
            ("500m", ONE / 2),
            ("1500m", ONE * 3 / 2),
            ("0.5m", 500_000),
            ("3u", 3000),
            ("7n", 7),
            ("1k", 1000 * ONE),
            ("1Ki", 1024 * ONE),
            ("1M", 1_000_000 * ONE),
            ("1Mi", (1 << 20) * ONE),
            ("1.5Gi", (1 << 30) * ONE * 3 / 2),
            ("2G", 2_000_000_000 * ONE),
            ("1T", 1_000_000_000_000 * ONE),
            ("1Ti", (1 << 40) * ONE),
            ("1e3", 1000 * ONE),
            ("1E3", 1000 * ONE),
            ("1.25e+2", 125 * ONE),
            ("5e-1", ONE / 2),
            ("7Ei", 7 * (1 << 60) * ONE),
            ("9223372036854775807", MOST * ONE),
            ("0000000000000000000000000001", ONE),
        ] {
            assert_eq!(amount(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn finer_than_that_is_rounded_up() {
        for (text, expected) in [("0.1n", 1), ("1.0000000001", ONE + 1), ("1e-18", 1), ("0.0000000000000000001m", 1)] {
            assert_eq!(amount(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_quantity() {
        for text in [
            "",
            ".",
            "-1",
            "+1",
            "1 Gi",
            "1gi",
            "1GI",
            "1K",
            "1mi",
            "1.2.3",
            "Gi",
            "1e",
            "1e+",
            "1e1.5",
            "1e19",
            "e3",
            "0x10",
            "1,5",
            "١",
            "8Ei",
            "9223372036854775808",
            "1e18E",
            "99999999999999999999",
        ] {
            assert_eq!(amount(text), None, "{text}");
        }
    }

    /// A number of thousandths, and the suffixes that are written with them.
    fn written() -> impl Strategy<Value = (u64, u64, &'static str)> {
        let suffix = prop::sample::select(vec!["", "m", "k", "M", "G", "Ki", "Mi", "Gi", "e2", "E-3"]);
        (0u64..1_000_000, 0u64..1000, suffix)
    }

    proptest! {
        #[test]
        fn the_order_is_that_of_the_numbers((a, a3, suffix) in written(), b in 0u64..1_000_000, b3 in 0u64..1000) {
            let [x, y] = [(a, a3), (b, b3)].map(|(n, m)| Quantity::parse(&format!("{n}.{m:03}{suffix}")).unwrap());
            prop_assert_eq!(x.cmp(&y), (a, a3).cmp(&(b, b3)));
        }

        #[test]
        fn zeros_at_the_ends_mean_nothing((n, m, suffix) in written(), before in 0usize..5, after in 0usize..5) {
            let padded = format!("{}{n}.{m:03}{}{suffix}", "0".repeat(before), "0".repeat(after));
            prop_assert_eq!(Quantity::parse(&padded), Quantity::parse(&format!("{n}.{m:03}{suffix}")));
        }

        #[test]
        fn a_thousandth_is_a_thousandth(n in 0u64..1_000_000) {
            let (m, plain) = (n % 1000, n / 1000);
            prop_assert_eq!(Quantity::parse(&format!("{n}m")), Quantity::parse(&format!("{plain}.{m:03}")));
        }

        #[test]
        fn no_text_trips_it(text in "[0-9.eE+\\-numkMGTPEi ]{0,40}") {
            let _ = Quantity::parse(&text);
        }
    }
}
