//! The one error type of the server, and its one way out.
//!
//! Services return [`Error`]; [`Error::into_status`] turns it into a gRPC status with exactly one [`ErrorDetail`], from
//! which the REST transport makes its body. What always holds: the message is public, the source is not; the source is
//! only ever logged.

use std::{fmt, time::Duration};

use prost::Message as _;
use tonic::{Code, Status};

use crate::proto::v1::{ChorusErrorCode, ErrorDetail, ValidationError};

/// A result with the server's error.
pub type Result<T, E = Error> = std::result::Result<T, E>;

type Source = Box<dyn std::error::Error + Send + Sync>;

/// Why a call failed: status, stable reason, public text, and the private cause.
#[derive(Debug)]
pub struct Error {
    kind: Kind,
    reason: &'static str,
    message: String,
    fields: Vec<ValidationError>,
    retry_after: Option<Duration>,
    source: Option<Source>,
}

/// What went wrong, coarsely. Each kind has one gRPC code, one HTTP status and one `chorusCode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The request cannot be read or makes no sense (400).
    InvalidRequest,
    /// Fields break rules (400).
    Validation,
    /// The thing does not exist for this caller (404).
    NotFound,
    /// The path exists, the method does not (405).
    MethodNotAllowed,
    /// It exists already (409).
    AlreadyExists,
    /// It was changed meanwhile (409).
    Conflict,
    /// No valid credential (401).
    Unauthenticated,
    /// Wrong user name, password or code (401).
    InvalidCredentials,
    /// The second factor is missing (400).
    TwoFactorRequired,
    /// The caller may not (403).
    PermissionDenied,
    /// The body is larger than the RPC takes (413).
    TooLarge,
    /// The body is not JSON (415).
    UnsupportedMediaType,
    /// Throttled, or a quota is used up (429).
    Exhausted,
    /// Declared, but not built (501).
    Unimplemented,
    /// The database or the runtime is not there, or the server is overloaded or stopping (503).
    Unavailable,
    /// The deadline passed (504).
    DeadlineExceeded,
    /// A fault of the server (500).
    Internal,
}

impl Kind {
    /// Every kind, for tables and tests.
    pub const ALL: [Self; 17] = [
        Self::InvalidRequest,
        Self::Validation,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::AlreadyExists,
        Self::Conflict,
        Self::Unauthenticated,
        Self::InvalidCredentials,
        Self::TwoFactorRequired,
        Self::PermissionDenied,
        Self::TooLarge,
        Self::UnsupportedMediaType,
        Self::Exhausted,
        Self::Unimplemented,
        Self::Unavailable,
        Self::DeadlineExceeded,
        Self::Internal,
    ];

    /// gRPC code, HTTP status, code of existing clients, heading.
    pub const fn row(self) -> (Code, u16, ChorusErrorCode, &'static str) {
        use ChorusErrorCode as C;
        match self {
            Self::InvalidRequest => (Code::InvalidArgument, 400, C::InvalidRequest, "Invalid Request"),
            Self::Validation => (Code::InvalidArgument, 400, C::ValidationError, "Validation Error"),
            Self::NotFound => (Code::NotFound, 404, C::NotFound, "Not Found"),
            Self::MethodNotAllowed => (Code::Unimplemented, 405, C::InvalidRequest, "Method Not Allowed"),
            Self::AlreadyExists => (Code::AlreadyExists, 409, C::AlreadyExists, "Already Exists"),
            Self::Conflict => (Code::Aborted, 409, C::AlreadyExists, "Changed Meanwhile"),
            Self::Unauthenticated => (Code::Unauthenticated, 401, C::Unauthenticated, "Unauthenticated"),
            Self::InvalidCredentials => (Code::Unauthenticated, 401, C::InvalidCredentials, "Invalid Credentials"),
            Self::TwoFactorRequired => {
                (Code::FailedPrecondition, 400, C::TwoFactorRequired, "Two-Factor Authentication Required")
            }
            Self::PermissionDenied => (Code::PermissionDenied, 403, C::PermissionDenied, "Permission Denied"),
            Self::TooLarge => (Code::ResourceExhausted, 413, C::InvalidRequest, "Request Too Large"),
            Self::UnsupportedMediaType => (Code::InvalidArgument, 415, C::InvalidRequest, "Unsupported Media Type"),
            Self::Exhausted => (Code::ResourceExhausted, 429, C::Unspecified, "Limit Reached"),
            Self::Unimplemented => (Code::Unimplemented, 501, C::Unspecified, "Not Implemented"),
            Self::Unavailable => (Code::Unavailable, 503, C::Unspecified, "Unavailable"),
            Self::DeadlineExceeded => (Code::DeadlineExceeded, 504, C::Unspecified, "Deadline Exceeded"),
            Self::Internal => (Code::Internal, 500, C::InternalError, "Internal Server Error"),
        }
    }

    /// The gRPC code.
    pub const fn code(self) -> Code {
        self.row().0
    }

    /// The HTTP status.
    pub const fn http(self) -> u16 {
        self.row().1
    }
}

impl Error {
    /// An error with a stable reason in SCREAMING_SNAKE_CASE and a public message.
    pub fn new(kind: Kind, reason: &'static str, message: impl Into<String>) -> Self {
        Self { kind, reason, message: message.into(), fields: Vec::new(), retry_after: None, source: None }
    }

    /// A request that cannot be read or makes no sense.
    pub fn invalid(reason: &'static str, message: impl Into<String>) -> Self {
        Self::new(Kind::InvalidRequest, reason, message)
    }

    /// Fields that break rules: (JSON path, rule id).
    pub fn validation(fields: Vec<ValidationError>) -> Self {
        let list: Vec<_> = fields.iter().map(|f| format!("{} ({})", f.field, f.reason)).collect();
        let mut error =
            Self::new(Kind::Validation, "VALIDATION_FAILED", format!("Check these fields: {}.", list.join(", ")));
        error.fields = fields;
        error
    }

    /// One field that breaks a rule which is checked outside the contract.
    pub fn field(field: impl Into<String>, rule: impl Into<String>, message: impl Into<String>) -> Self {
        let mut error = Self::new(Kind::Validation, "VALIDATION_FAILED", message);
        error.fields = vec![ValidationError { field: field.into(), reason: rule.into() }];
        error
    }

    /// A thing that does not exist for this caller.
    pub fn not_found(reason: &'static str, message: impl Into<String>) -> Self {
        Self::new(Kind::NotFound, reason, message)
    }

    /// A thing that exists already.
    pub fn exists(reason: &'static str, message: impl Into<String>) -> Self {
        Self::new(Kind::AlreadyExists, reason, message)
    }

    /// The caller may not do this.
    pub fn denied(reason: &'static str, message: impl Into<String>) -> Self {
        Self::new(Kind::PermissionDenied, reason, message)
    }

    /// There is no valid credential.
    pub fn unauthenticated(reason: &'static str, message: impl Into<String>) -> Self {
        Self::new(Kind::Unauthenticated, reason, message)
    }

    /// A fault of the server; the source is logged, never sent.
    pub fn internal(source: impl Into<Source>) -> Self {
        Self::new(Kind::Internal, "INTERNAL", "The server failed. Its log has the details under the request id.")
            .because(source)
    }

    /// Adds the private cause.
    pub fn because(mut self, source: impl Into<Source>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Tells the client when to try again.
    pub fn retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    /// What went wrong, coarsely.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The stable reason.
    pub fn reason(&self) -> &'static str {
        self.reason
    }

    /// The public text.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The private cause.
    pub fn cause(&self) -> Option<&(dyn std::error::Error + Send + Sync)> {
        self.source.as_deref()
    }

    /// The status that travels: code, message, and one [`ErrorDetail`] for the path of the call.
    pub fn into_status(self, instance: &str) -> Status {
        let (code, _, chorus_code, title) = self.kind.row();
        let detail = ErrorDetail {
            chorus_code: chorus_code.into(),
            instance: instance.to_owned(),
            title: title.to_owned(),
            message: self.message.clone(),
            validation_errors: self.fields,
            stack_trace: String::new(),
            reason: self.reason.to_owned(),
        };
        let details = RpcStatus {
            code: code as i32,
            message: self.message.clone(),
            details: vec![prost_types::Any {
                type_url: "type.googleapis.com/chorus.v1.ErrorDetail".to_owned(),
                value: detail.encode_to_vec(),
            }],
        };
        let mut metadata = tonic::metadata::MetadataMap::new();
        if let Some(after) = self.retry_after {
            metadata.insert("retry-after", after.as_secs().max(1).into());
        }
        Status::with_details_and_metadata(code, self.message, details.encode_to_vec().into(), metadata)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} [{}]", self.message, self.reason)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|s| &**s as _)
    }
}

/// `google.rpc.Status`, the message in the `grpc-status-details-bin` trailer.
#[derive(Clone, PartialEq, prost::Message)]
pub struct RpcStatus {
    /// The gRPC code.
    #[prost(int32, tag = "1")]
    pub code: i32,
    /// The public message.
    #[prost(string, tag = "2")]
    pub message: String,
    /// The details, here one `ErrorDetail`.
    #[prost(message, repeated, tag = "3")]
    pub details: Vec<prost_types::Any>,
}

/// The detail of a status, if it carries one.
pub fn detail(status: &Status) -> Option<ErrorDetail> {
    let details = RpcStatus::decode(status.details()).ok()?;
    let any = details.details.iter().find(|any| any.type_url.ends_with("/chorus.v1.ErrorDetail"))?;
    ErrorDetail::decode(any.value.as_slice()).ok()
}
