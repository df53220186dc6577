//! A token in a file of its owner alone: one line that whoever asks has to show. A file that
//! changes is read again, so a token can be replaced while the program runs.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use super::secret::read_private;
use super::{Stamp, stamp};
use crate::error::{Error, Result};

/// Shortest and longest token, in bytes. Shorter ones can be guessed.
const TOKEN_LEN_MIN: usize = 16;
const TOKEN_LEN_MAX: usize = 256;

/// See the module text.
#[derive(Debug)]
pub struct TokenFile {
    path: PathBuf,
    known: Mutex<(Option<Stamp>, String)>,
}

impl TokenFile {
    /// Reads the file.
    ///
    /// # Errors
    /// It cannot be read, others may read it, or it holds no token.
    pub fn open(path: PathBuf) -> Result<TokenFile> {
        let found = stamp(&path);
        let token = read(&path)?;
        Ok(TokenFile {
            known: Mutex::new((found, token)),
            path,
        })
    }

    /// The token that the file holds now.
    ///
    /// # Errors
    /// As for [`TokenFile::open`]: then there is none.
    pub fn token(&self) -> Result<String> {
        let mut known = self.known.lock().expect("token");
        let found = stamp(&self.path);
        if known.0 != found || found.is_none() {
            *known = (found, read(&self.path)?);
        }
        Ok(known.1.clone())
    }
}

fn read(path: &Path) -> Result<String> {
    let bytes = read_private(path, "token file", TOKEN_LEN_MAX + 2)?;
    let text = String::from_utf8(bytes).unwrap_or_default();
    let token = text.trim_end_matches(['\r', '\n']);
    let visible = token.bytes().all(|b| b.is_ascii_graphic());
    match visible && (TOKEN_LEN_MIN..=TOKEN_LEN_MAX).contains(&token.len()) {
        true => Ok(token.to_string()),
        false => Err(Error::new(format!(
            "token file {}: expected one line of {TOKEN_LEN_MIN} to {TOKEN_LEN_MAX} letters, digits or signs",
            path.display()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: &Path, text: &str, mode: u32) {
        std::fs::write(path, text).unwrap();
        #[cfg(unix)]
        std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_token_is_read_again_when_its_file_changes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        assert!(TokenFile::open(path.clone()).is_err());
        write(&path, "0123456789abcdef\n", 0o600);
        let file = TokenFile::open(path.clone()).unwrap();
        assert_eq!(file.token().unwrap(), "0123456789abcdef");
        write(&path, "another-0123456789", 0o600);
        assert_eq!(file.token().unwrap(), "another-0123456789");
        for text in ["", "short", "0123456789 abcdef", &"x".repeat(300)] {
            write(&path, text, 0o600);
            assert!(file.token().is_err(), "{text:?}");
        }
        std::fs::remove_file(&path).unwrap();
        assert!(file.token().is_err());
    }

    #[cfg(unix)]
    #[test]
    fn a_token_that_others_may_read_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        write(&path, "0123456789abcdef", 0o640);
        let error = TokenFile::open(path).unwrap_err().to_string();
        assert!(
            error.contains("others may read it (mode 640): chmod 600 "),
            "{error}"
        );
    }
}
