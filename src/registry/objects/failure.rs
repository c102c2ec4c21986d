//! What a refusal of an object store means.
//!
//! S3, and everything that speaks as it does, Azure and Google's XML answer `<Code>…</Code><Message>…</Message>`; the codes
//! say more than the status. `object_store` keeps the status and the body in the text of an error alone (its `RetryError`
//! is not public), so they are read out of that text, and tests against a server hold that.
//!
//! What is repeated is the code, the message and the deepest cause: an error's whole text has the request's URL in it,
//! and a URL can be signed.
//!
//! Invariant: what an error repeats is at most a few hundred characters, without a URL of a request.

use crate::registry::source::{SourceError, shown};
use object_store::Error as StoreError;
use object_store::client::{HttpError, HttpErrorKind};
use std::error::Error;

/// How `object_store` begins the text of an answer that is no success.
const ANSWERED: &str = "Server returned non-2xx status code: ";
/// How it begins that of a redirect without a target, which S3 sends for a bucket of another region.
const BARE_REDIRECT: &str = "Received redirect without LOCATION";
/// Where the credentials of a machine of a cloud come from.
const METADATA_HOSTS: [&str; 3] = ["//169.254.169.254", "//169.254.170.2", "//metadata.google.internal"];

/// Whom was asked, for messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    /// The store and where it answers.
    pub(super) place: String,
    /// The table of the settings that say how, such as `registry.s3`.
    pub(super) table: &'static str,
}

/// What an error of a store means for whoever asked it for `what`.
pub(super) fn meaning(error: &StoreError, asked: &Asked, what: &str) -> SourceError {
    let (place, what) = (asked.place.clone(), what.to_owned());
    let said = Said::of(error);
    match (error, said.status) {
        (StoreError::Precondition { .. } | StoreError::NotModified { .. }, _) | (_, Some(412)) => {
            SourceError::NotWhole { what, reason: "it was overwritten since it was listed".to_owned() }
        }
        // Of a list the library says so by the status alone.
        (_, Some(404)) if said.is_of_the_store() => SourceError::Absent { what: place, message: said.text() },
        (StoreError::NotFound { .. }, _) | (_, Some(404)) => SourceError::Absent { what, message: said.text() },
        (_, Some(status @ (401 | 403))) => refused(asked, status, &said),
        (_, Some(status @ 400)) if said.is_of_credentials() => refused(asked, status, &said),
        (_, Some(status @ (408 | 429 | 500..=599))) => {
            SourceError::Failing { place, status, message: said.text(), retry_after: None }
        }
        (_, Some(status)) => {
            let reason = format!("asked for {what}, {status} {}{}", said.text(), help(&said, asked));
            SourceError::Unexpected { place, reason }
        }
        (_, None) if said.deepest.starts_with(BARE_REDIRECT) => {
            let reason = format!("it redirects to another region; {}.region is another's", asked.table);
            SourceError::Unexpected { place, reason }
        }
        (_, None) if said.is_of_metadata => {
            let cause = format!(
                "there are no credentials: neither {} nor the environment has any, and this is no machine of a cloud that does ({})",
                asked.table, said.deepest
            );
            SourceError::Unreachable { place, cause }
        }
        (_, None) if said.has_passed => SourceError::Unreachable { place, cause: said.deepest },
        (_, None) => SourceError::Unexpected { place, reason: format!("asked for {what}, {}", said.deepest) },
    }
}

fn refused(asked: &Asked, status: u16, said: &Said) -> SourceError {
    let message = format!("{}{}", said.text(), help(said, asked));
    SourceError::Refused { place: asked.place.clone(), status, message }
}

/// What may help, by the code.
fn help(said: &Said, Asked { table, .. }: &Asked) -> String {
    match said.code.as_str() {
        "SignatureDoesNotMatch" => format!("; is {table}.secret_access_key that of the access_key_id?"),
        "InvalidAccessKeyId" => format!("; the store does not know {table}.access_key_id"),
        "AuthenticationFailed" => format!("; is {table}.access_key that of the account?"),
        "RequestTimeTooSkewed" => "; the clocks of this machine and of the store differ".to_owned(),
        "ExpiredToken" | "InvalidToken" | "TokenRefreshRequired" => {
            "; the session's token is no longer valid".to_owned()
        }
        "AccessDenied" | "AuthorizationFailure" | "AuthorizationPermissionMismatch" => {
            format!("; the credentials of {table} may not list or read here")
        }
        "AuthorizationHeaderMalformed" | "PermanentRedirect" | "IllegalLocationConstraintException" => {
            format!("; is {table}.region the bucket's?")
        }
        _ => String::new(),
    }
}

/// What an error says, as far as it may be repeated.
#[derive(Debug, Default)]
struct Said {
    status: Option<u16>,
    code: String,
    message: String,
    /// The cause of all.
    deepest: String,
    /// Whether it was a connection, which may be had later.
    has_passed: bool,
    /// Whether it is the machine's own credentials that could not be had.
    is_of_metadata: bool,
}

impl Said {
    fn of(error: &StoreError) -> Self {
        let mut said = Self::default();
        let mut next: Option<&(dyn Error + 'static)> = Some(error);
        while let Some(current) = next {
            let text = current.to_string();
            said.is_of_metadata |= METADATA_HOSTS.iter().any(|host| text.contains(host));
            if let Some(answer) = text.strip_prefix(ANSWERED) {
                said.read(answer);
            }
            let kind = current.downcast_ref::<HttpError>().map(HttpError::kind);
            said.has_passed |= kind.is_some_and(|kind| !matches!(kind, HttpErrorKind::Decode))
                || current.downcast_ref::<std::io::Error>().is_some();
            next = current.source();
            said.deepest = shown(&text);
        }
        if said.has_passed && said.deepest.contains("://") {
            "the connection failed".clone_into(&mut said.deepest);
        }
        said
    }

    /// `403 Forbidden: <body>`.
    fn read(&mut self, answer: &str) {
        self.status = answer.get(..3).and_then(|digits| digits.parse().ok());
        let body = answer.split_once(':').map_or("", |(_, body)| body);
        let field = |name: &str| {
            let (_, after) = body.split_once(&format!("<{name}>"))?;
            Some(shown(after.split_once("</")?.0))
        };
        self.code = field("Code").unwrap_or_default();
        // What is not said in the usual words is shown as it is, as far as one line goes.
        let other = || if self.code.is_empty() { shown(body) } else { String::new() };
        self.message = field("Message").unwrap_or_else(other);
    }

    /// Whether it is the store itself that is not there.
    fn is_of_the_store(&self) -> bool {
        matches!(self.code.as_str(), "NoSuchBucket" | "ContainerNotFound")
    }

    /// Whether a bad request is one for its credentials.
    fn is_of_credentials(&self) -> bool {
        let codes = ["ExpiredToken", "InvalidToken", "TokenRefreshRequired", "AuthorizationHeaderMalformed"];
        codes.contains(&self.code.as_str())
    }

    fn text(&self) -> String {
        match (self.code.as_str(), self.message.as_str()) {
            ("", "") => "no reason given".to_owned(),
            ("", message) => message.to_owned(),
            (code, "") => code.to_owned(),
            (code, message) => format!("{code}: {}", message.trim_end_matches('.')),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked() -> Asked {
        Asked { place: "s3://models".to_owned(), table: "registry.s3" }
    }

    /// As `object_store` puts them together: the answer is below a text with the request's URL.
    fn generic(answer: &str) -> StoreError {
        #[derive(Debug, thiserror::Error)]
        #[error("Error performing GET http://store/models?sig=hunter2 in 1ms - {0}")]
        struct Retry(String, #[source] Inner);
        #[derive(Debug, thiserror::Error)]
        #[error("{0}")]
        struct Inner(String);
        let source = Box::new(Retry(answer.to_owned(), Inner(answer.to_owned())));
        StoreError::Generic { store: "S3", source }
    }

    #[test]
    fn a_code_says_what_may_help_and_no_url_is_repeated() {
        for (status, code, said) in [
            ("403 Forbidden", "SignatureDoesNotMatch", "registry.s3.secret_access_key"),
            ("403 Forbidden", "InvalidAccessKeyId", "registry.s3.access_key_id"),
            ("403 Forbidden", "RequestTimeTooSkewed", "clocks"),
            ("403 Forbidden", "AccessDenied", "may not list or read"),
            ("400 Bad Request", "AuthorizationHeaderMalformed", "registry.s3.region"),
        ] {
            let body =
                format!("<Error><Code>{code}</Code><Message>No.</Message><StringToSign>x</StringToSign></Error>");
            let error = meaning(&generic(&format!("{ANSWERED}{status}: {body}")), &asked(), "the versions");
            let SourceError::Refused { message, .. } = &error else { panic!("{error}") };
            assert!(message.contains(said) && message.starts_with(&format!("{code}: No")), "{message}");
            assert!(!error.to_string().contains("hunter2") && !message.contains("StringToSign"), "{error}");
            assert!(!error.may_pass());
        }
    }

    #[test]
    fn what_is_busy_or_gone_is_told_apart() {
        let of = |status: &str| meaning(&generic(&format!("{ANSWERED}{status}: ")), &asked(), "the versions");
        assert!(matches!(of("503 Service Unavailable"), SourceError::Failing { status: 503, .. }));
        assert!(matches!(of("412 Precondition Failed"), SourceError::NotWhole { .. }) && of("412 x").may_pass());
        assert!(matches!(of("405 Method Not Allowed"), SourceError::Unexpected { .. }));
        let redirect = meaning(&generic(BARE_REDIRECT), &asked(), "the versions").to_string();
        assert!(redirect.contains("registry.s3.region"), "{redirect}");
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        let error = HttpError::new(HttpErrorKind::Connect, refused);
        let error = StoreError::Generic { store: "S3", source: Box::new(error) };
        let error = meaning(&error, &asked(), "the versions");
        assert!(matches!(&error, SourceError::Unreachable { cause, .. } if cause == "connection refused"), "{error}");
        assert!(matches!(of("404 Not Found"), SourceError::Absent { what, .. } if what == "the versions"));
        let gone = StoreError::NotFound {
            path: "x".into(),
            source: Box::new(generic(&format!("{ANSWERED}404 Not Found: <Error><Code>NoSuchBucket</Code></Error>"))),
        };
        assert_eq!(meaning(&gone, &asked(), "x").to_string(), "s3://models is not there: NoSuchBucket");
    }
}
