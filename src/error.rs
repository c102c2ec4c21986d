//! Whose fault an error is, and what the caller may read of it.
//!
//! Every room has an error enum of its own that says what was expected and what came. What those enums share is
//! not a type but a question: may the caller be told, and what should the caller do next? [`Fault`] is the answer,
//! in words that know nothing of HTTP; one file, `serve/respond.rs`, turns it into a status.
//!
//! Invariant: the text of an [`Fault::Internal`] error never leaves the process except through the log.

/// Whose fault an error is, and so what the caller should do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The request is malformed or does not fit the model: change it.
    InvalidRequest,
    /// The credentials are missing or wrong.
    Unauthorized,
    /// The request comes from an origin or names a host that is not served.
    Forbidden,
    /// A model, version, input or route of that name does not exist: name another.
    NotFound,
    /// The route exists, but not for this verb.
    MethodNotAllowed,
    /// The request did not arrive within its time limit.
    TooSlow,
    /// The request contradicts the present state: look at the state, then decide again.
    Conflict,
    /// The request is larger than a limit allows.
    TooLarge,
    /// The body is in a form that is not read here (a content encoding, for example).
    UnsupportedMedia,
    /// Nothing is wrong with the request, but it cannot be served now: try again later.
    Unavailable,
    /// More came than can be served: try again after a while, or elsewhere.
    Contended,
    /// It would have been served, had it more time.
    DeadlineExceeded,
    /// Ours: a bug, a model that fails, a machine that is out of something.
    Internal,
}

/// An error that knows whose fault it is.
pub trait Blamed: std::error::Error {
    /// Whose fault this is.
    fn fault(&self) -> Fault;

    /// When to try again, if that is known.
    fn retry_after(&self) -> Option<std::time::Duration> {
        None
    }

    /// What the caller may read. Internal causes stay in the log.
    fn public_text(&self) -> String {
        match self.fault() {
            Fault::Internal => "internal error; the server's log has the cause".to_owned(),
            _ => self.to_string(),
        }
    }
}
