//! The one error type that crosses module boundaries: what was being done, to
//! what, and the cause. Display tells the whole story in one line, lower case,
//! without a final dot: `open /var/lib/x: permission denied`. The cause is in
//! the text, so `source()` stays empty and nothing is printed twice.

use std::fmt;

/// What failed and why, ready to print.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error(Box<str>);

/// A result whose error is ready to print.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error that says just `message`.
    pub fn new(message: impl Into<String>) -> Error {
        Error(message.into().into_boxed_str())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

/// Adds the operation and its object to a failure: `open fleet.json: no such file`.
pub trait Context<T> {
    /// Puts `doing()` and a colon before the failure's own text.
    fn context(self, doing: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: fmt::Display> Context<T> for std::result::Result<T, E> {
    fn context(self, doing: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|cause| Error::new(format!("{}: {}", doing(), plain(&cause.to_string()))))
    }
}

/// Drops the ` (os error N)` that std adds and the capital letter the system's texts start with.
pub fn plain(text: &str) -> String {
    let text = match text.find(" (os error ") {
        Some(end) => &text[..end],
        None => text,
    };
    let mut chars = text.chars();
    match chars.next() {
        Some(first) if !chars.as_str().starts_with(|c: char| c.is_ascii_uppercase()) => {
            first.to_lowercase().chain(chars).collect()
        }
        _ => text.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_operation_object_and_cause_once() {
        let cause = std::io::Error::from_raw_os_error(2);
        let error = Err::<(), _>(cause)
            .context(|| "open fleet.json".to_string())
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "open fleet.json: no such file or directory"
        );
        assert!(std::error::Error::source(&error).is_none());
    }

    #[test]
    fn an_error_stays_two_words_small() {
        assert!(size_of::<Error>() <= 2 * size_of::<usize>());
    }
}
