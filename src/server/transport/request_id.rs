//! The id of a call. A client or proxy may bring its own, so that one id runs through all logs; it is only taken when it
//! is short and harmless to print.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::server::random::Random;

/// The header with the id.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The older name of the same header; answered when the client uses it.
pub const X_CORRELATION_ID: HeaderName = HeaderName::from_static("x-correlation-id");

const MAX_LEN: usize = 128;

/// The id of a call and how it goes back.
#[derive(Debug, Clone)]
pub struct RequestId {
    id: Arc<str>,
    correlation: bool,
}

impl RequestId {
    /// The client's id if it is fit to use, a fresh UUID otherwise.
    pub fn of(headers: &HeaderMap, random: &dyn Random) -> Self {
        let given =
            |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok()).filter(|id| is_sane(id));
        let correlation = headers.contains_key(X_CORRELATION_ID);
        let id = match given(X_REQUEST_ID).or_else(|| given(X_CORRELATION_ID)) {
            Some(id) => id.into(),
            None => random.uuid().to_string().into(),
        };
        Self { id, correlation }
    }

    /// The id itself.
    pub fn id(&self) -> Arc<str> {
        self.id.clone()
    }

    /// Writes the id into the headers of the answer.
    pub fn stamp(&self, headers: &mut HeaderMap) {
        // what `is_sane` admits, and a UUID, is always a header value
        if let Ok(value) = HeaderValue::from_str(&self.id) {
            if self.correlation {
                headers.insert(X_CORRELATION_ID, value.clone());
            }
            headers.insert(X_REQUEST_ID, value);
        }
    }
}

fn is_sane(id: &str) -> bool {
    (1..=MAX_LEN).contains(&id.len())
        && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b':' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::random::SeededRandom;

    fn id_for(name: HeaderName, value: &str) -> String {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_str(value).unwrap());
        RequestId::of(&headers, &SeededRandom::new(1)).id().to_string()
    }

    #[test]
    fn takes_a_sane_id_and_replaces_any_other() {
        let fresh = SeededRandom::new(1).uuid().to_string();
        assert_eq!(id_for(X_REQUEST_ID, "a.B_9:z-"), "a.B_9:z-");
        assert_eq!(id_for(X_CORRELATION_ID, "job-7"), "job-7");
        for bad in ["", "a b", "a\"b", "a;b", &"x".repeat(129)] {
            assert_eq!(id_for(X_REQUEST_ID, bad), fresh, "{bad:?}");
        }
        assert_eq!(id_for(X_REQUEST_ID, &"x".repeat(128)).len(), 128);
    }

    #[test]
    fn answers_the_name_that_the_client_used() {
        let mut headers = HeaderMap::new();
        headers.insert(X_CORRELATION_ID, HeaderValue::from_static("abc"));
        let mut answer = HeaderMap::new();
        RequestId::of(&headers, &SeededRandom::new(1)).stamp(&mut answer);
        assert_eq!(answer[X_REQUEST_ID], "abc");
        assert_eq!(answer[X_CORRELATION_ID], "abc");
        let mut answer = HeaderMap::new();
        RequestId::of(&HeaderMap::new(), &SeededRandom::new(1)).stamp(&mut answer);
        assert!(!answer.contains_key(X_CORRELATION_ID));
    }
}
