//! How long a call may take: what the client asks for in `grpc-timeout`, at most the server's own limit for unary calls.

use std::time::Duration;

use http::{HeaderMap, HeaderName};

/// The header with the client's patience (gRPC over HTTP/2: `TimeoutValue TimeoutUnit`).
pub const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// How long this call may take; `None` is for ever. Streams only end when the client says so.
pub fn of(headers: &HeaderMap, streaming: bool, limit: Duration) -> Option<Duration> {
    let asked = headers.get(GRPC_TIMEOUT).and_then(|value| value.to_str().ok()).and_then(parse);
    match (asked, streaming) {
        (asked, true) => asked,
        (Some(asked), false) => Some(asked.min(limit)),
        (None, false) => Some(limit),
    }
}

/// Reads at most eight digits and a unit; anything else is no timeout.
fn parse(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let n: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(n * 3600),
        "M" => Duration::from_secs(n * 60),
        "S" => Duration::from_secs(n),
        "m" => Duration::from_millis(n),
        "u" => Duration::from_micros(n),
        "n" => Duration::from_nanos(n),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_unit_and_nothing_else() {
        let table = [
            ("1H", Some(Duration::from_secs(3600))),
            ("2M", Some(Duration::from_secs(120))),
            ("30S", Some(Duration::from_secs(30))),
            ("250m", Some(Duration::from_millis(250))),
            ("7u", Some(Duration::from_micros(7))),
            ("99999999n", Some(Duration::from_nanos(99_999_999))),
            ("", None),
            ("S", None),
            ("5", None),
            ("-5S", None),
            ("+5S", None),
            ("123456789S", None),
            ("5ä", None),
        ];
        for (text, want) in table {
            assert_eq!(parse(text), want, "{text:?}");
        }
    }

    #[test]
    fn the_server_bounds_unary_calls_only() {
        let limit = Duration::from_secs(30);
        let mut headers = HeaderMap::new();
        assert_eq!(of(&headers, false, limit), Some(limit));
        assert_eq!(of(&headers, true, limit), None);
        headers.insert(GRPC_TIMEOUT, "1H".parse().unwrap());
        assert_eq!(of(&headers, false, limit), Some(limit));
        assert_eq!(of(&headers, true, limit), Some(Duration::from_secs(3600)));
    }
}
