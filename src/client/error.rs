//! Why a command failed, in words and as an exit code.
//!
//! A gRPC status, a refused connection, a bad argument all become one [`Error`] that says what was tried, why it failed and
//! what to do next. What always holds: text that came from the server is escaped before it reaches a terminal.

use std::{error::Error as _, fmt, io, process::ExitCode};

use prost::Message as _;
use serde::Serialize;
use tonic::{Code, Status};

use super::output::escape::visible;
use crate::proto::v1::{ChorusErrorCode, ErrorDetail};

/// A result with the client's error.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What the process tells its caller; scripts rely on these numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// The command did what it was asked to do.
    Ok = 0,
    /// It failed for a reason without a number of its own.
    Failure = 1,
    /// The command line asks for something impossible.
    Usage = 2,
    /// The thing does not exist, or not for this caller.
    NotFound = 3,
    /// There is no valid credential.
    SignedOut = 4,
    /// The caller may not do this.
    Denied = 5,
    /// It exists already, or was changed meanwhile.
    Conflict = 6,
    /// A quota or a rate limit was reached.
    Limit = 7,
    /// The answer took too long.
    Timeout = 8,
    /// There is no server at the address.
    Unreachable = 9,
    /// The user pressed Ctrl-C.
    Interrupted = 130,
}

impl Exit {
    /// The exit code for a gRPC status.
    pub const fn of(code: Code) -> Self {
        match code {
            Code::Ok => Self::Ok,
            Code::InvalidArgument | Code::OutOfRange => Self::Usage,
            Code::NotFound => Self::NotFound,
            Code::Unauthenticated => Self::SignedOut,
            Code::PermissionDenied => Self::Denied,
            Code::AlreadyExists | Code::Aborted => Self::Conflict,
            Code::ResourceExhausted => Self::Limit,
            Code::DeadlineExceeded => Self::Timeout,
            Code::Unavailable => Self::Unreachable,
            Code::Cancelled
            | Code::Unknown
            | Code::FailedPrecondition
            | Code::Unimplemented
            | Code::Internal
            | Code::DataLoss => Self::Failure,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command failed.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Error {
    #[serde(skip)]
    exit: Exit,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<Box<str>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    fields: Vec<Field>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<Box<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<Box<str>>,
    #[serde(skip)]
    chorus_code: ChorusErrorCode,
}

/// A field that the server refused.
#[derive(Debug, Clone, Serialize)]
struct Field {
    field: String,
    rule: String,
}

impl Error {
    /// An error with its exit code and text.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
            reason: None,
            fields: Vec::new(),
            hint: None,
            request_id: None,
            chorus_code: ChorusErrorCode::Unspecified,
        }
    }

    /// A command line that asks for something impossible.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// A thing that does not exist.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(Exit::NotFound, message)
    }

    /// A failure without a number of its own.
    pub fn failure(message: impl Into<String>) -> Self {
        Self::new(Exit::Failure, message)
    }

    /// The user pressed Ctrl-C.
    pub fn interrupted() -> Self {
        Self::new(Exit::Interrupted, "interrupted")
    }

    /// Adds what to do next, unless something more specific is said already.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint.get_or_insert_with(|| hint.into().into());
        self
    }

    /// Says it in other words, where more is known than the status tells.
    pub fn reworded(self, message: impl Into<String>) -> Self {
        Self { message: message.into(), ..self }
    }

    /// Says something else to do next, where more is known than the status tells.
    pub fn replace_hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into().into()), ..self }
    }

    /// A call that the server, or the way to it, answered with `status`; `what` says what was tried, such as
    /// `get workspace 12`.
    pub fn from_status(what: &str, status: &Status) -> Self {
        let detail = detail(status).unwrap_or_default();
        let text = if detail.message.is_empty() { status.message() } else { &detail.message };
        let exit = exit_of(status);
        let why = match (exit, text) {
            (Exit::Timeout, _) => "the server did not answer in time",
            (_, "") => status.code().description(),
            (_, text) => text,
        };
        let mut error = Self::new(exit, format!("cannot {what}: {}", why.trim_end_matches('.')));
        error.reason = Some(detail.reason.as_str()).filter(|reason| !reason.is_empty()).map(Box::from);
        error.chorus_code = detail.chorus_code();
        error.fields = detail.validation_errors.into_iter().map(|e| Field { field: e.field, rule: e.reason }).collect();
        error.request_id = metadata(status, "x-request-id");
        match hint(&error, status) {
            Some(hint) => error.hint(hint),
            None => error,
        }
    }

    /// Names the refused fields in other words.
    pub fn map_fields(mut self, rename: impl Fn(&str) -> String) -> Self {
        self.fields.iter_mut().for_each(|field| field.field = rename(&field.field));
        self
    }

    /// The exit code.
    pub fn exit(&self) -> Exit {
        self.exit
    }

    /// The stable reason of the server.
    pub fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }

    /// The coarse code of the server.
    pub fn chorus_code(&self) -> ChorusErrorCode {
        self.chorus_code
    }

    /// One line of JSON, for programs that read standard error.
    pub fn json(&self) -> String {
        let mut value = serde_json::json!({ "error": self });
        value["error"]["exitCode"] = (self.exit as u8).into();
        value.to_string()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", visible(&self.message))?;
        if let Some(reason) = &self.reason {
            write!(f, " [{}]", visible(reason))?;
        }
        for Field { field, rule } in &self.fields {
            write!(f, "\n  {}: {}", visible(field), visible(rule))?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\nhint: {}", visible(hint))?;
        }
        if let Some(id) = &self.request_id {
            write!(f, "\nrequest id: {}", visible(id))?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

/// A failed read or write on this machine.
impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::Interrupted => Self::interrupted(),
            _ => Self::failure(error.to_string()),
        }
    }
}

/// A status that never left this process says so in its source only.
fn exit_of(status: &Status) -> Exit {
    let local_timeout = status.code() == Code::Cancelled && status.message().to_lowercase().contains("timeout");
    match Exit::of(status.code()) {
        Exit::Failure if local_timeout => Exit::Timeout,
        Exit::Failure if broken_connection(status) => Exit::Unreachable,
        exit => exit,
    }
}

fn broken_connection(status: &Status) -> bool {
    let mut source = status.source();
    while let Some(error) = source {
        if error.is::<tonic::transport::Error>() || error.is::<io::Error>() {
            return true;
        }
        source = error.source();
    }
    false
}

fn metadata(status: &Status, name: &str) -> Option<Box<str>> {
    status.metadata().get(name)?.to_str().ok().map(Box::from)
}

fn hint(error: &Error, status: &Status) -> Option<String> {
    if error.chorus_code == ChorusErrorCode::InvalidCredentials {
        return Some(
            "check the user name and the password, and the code if the account has a second factor".to_owned(),
        );
    }
    if error.reason.as_deref() == Some("PASSWORD_CHANGE_REQUIRED") {
        return Some("choose your own password with `chorus password`".to_owned());
    }
    if error.reason.as_deref() == Some("ROLE_IN_USE") {
        return Some("take it from everybody with `--revoke-assignments`".to_owned());
    }
    if error.exit == Exit::Timeout {
        return Some("wait longer with `--timeout`".to_owned());
    }
    match status.code() {
        Code::Unauthenticated => Some("sign in with `chorus login`".to_owned()),
        Code::PermissionDenied => Some("`chorus whoami` shows your roles; an administrator can grant more".to_owned()),
        Code::Aborted => Some("it was changed meanwhile; look at it and repeat the command".to_owned()),
        // the text of the server says how long
        Code::ResourceExhausted if error.reason.as_deref() == Some("SIGN_IN_THROTTLED") => {
            Some("an administrator can let you in at once with `chorus user reset-password NAME`".to_owned())
        }
        Code::ResourceExhausted => metadata(status, "retry-after").map(|after| format!("try again in {after} s")),
        Code::Unimplemented => Some("compare the versions: `chorus version`, `chorus server status`".to_owned()),
        Code::Internal => Some("the log of the server has the details under the request id".to_owned()),
        _ => None,
    }
}

/// `google.rpc.Status`, the message in the `grpc-status-details-bin` trailer.
#[derive(Clone, PartialEq, prost::Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<prost_types::Any>,
}

fn detail(status: &Status) -> Option<ErrorDetail> {
    let details = RpcStatus::decode(status.details()).ok()?.details;
    let any = details.iter().find(|any| any.type_url.ends_with("/chorus.v1.ErrorDetail"))?;
    ErrorDetail::decode(any.value.as_slice()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::v1::ValidationError;

    fn with_detail(code: Code, detail: ErrorDetail) -> Status {
        let any = prost_types::Any {
            type_url: "type.googleapis.com/chorus.v1.ErrorDetail".to_owned(),
            value: detail.encode_to_vec(),
        };
        let details = RpcStatus { code: code as i32, message: String::new(), details: vec![any] };
        let mut metadata = tonic::metadata::MetadataMap::new();
        metadata.insert("x-request-id", "r-1".parse().unwrap());
        metadata.insert("retry-after", "7".parse().unwrap());
        Status::with_details_and_metadata(code, "plain", details.encode_to_vec().into(), metadata)
    }

    #[test]
    fn every_code_has_its_exit() {
        let table = [
            (Code::InvalidArgument, 2),
            (Code::OutOfRange, 2),
            (Code::NotFound, 3),
            (Code::Unauthenticated, 4),
            (Code::PermissionDenied, 5),
            (Code::AlreadyExists, 6),
            (Code::Aborted, 6),
            (Code::ResourceExhausted, 7),
            (Code::DeadlineExceeded, 8),
            (Code::Unavailable, 9),
            (Code::FailedPrecondition, 1),
            (Code::Unimplemented, 1),
            (Code::Internal, 1),
            (Code::Unknown, 1),
            (Code::DataLoss, 1),
            (Code::Cancelled, 1),
        ];
        for (code, exit) in table {
            assert_eq!(Error::from_status("x", &Status::new(code, "m")).exit() as u8, exit, "{code:?}");
        }
        assert_eq!(Error::from_status("x", &Status::cancelled("Timeout expired")).exit(), Exit::Timeout);
    }

    #[test]
    fn the_detail_of_the_server_is_shown() {
        let detail = ErrorDetail {
            chorus_code: ChorusErrorCode::ValidationError.into(),
            message: "Check these fields.".to_owned(),
            reason: "VALIDATION_FAILED".to_owned(),
            validation_errors: vec![ValidationError { field: "name".to_owned(), reason: "string.max_len".to_owned() }],
            ..Default::default()
        };
        let error = Error::from_status("create workspace \"a\"", &with_detail(Code::InvalidArgument, detail));
        insta::assert_snapshot!(error, @r#"
        error: cannot create workspace "a": Check these fields [VALIDATION_FAILED]
          name: string.max_len
        request id: r-1
        "#);
        insta::assert_snapshot!(error.json(), @r#"{"error":{"exitCode":2,"fields":[{"field":"name","rule":"string.max_len"}],"message":"cannot create workspace \"a\": Check these fields","reason":"VALIDATION_FAILED","requestId":"r-1"}}"#);
    }

    #[test]
    fn a_plain_status_and_hostile_text_are_shown_too() {
        let error = Error::from_status("list users", &Status::permission_denied("no\u{1b}[2Jpe"));
        insta::assert_snapshot!(error, @r"
        error: cannot list users: no\u{1b}[2Jpe
        hint: `chorus whoami` shows your roles; an administrator can grant more
        ");
    }

    #[test]
    fn throttling_says_when_to_try_again() {
        let error = Error::from_status("sign in", &with_detail(Code::ResourceExhausted, ErrorDetail::default()));
        assert!(error.to_string().contains("try again in 7 s"), "{error}");
    }
}
