//! The few bytes of X11 that tell whether a display answers: the cookie, its file, and the setup of a connection.
//!
//! What always holds: the cookie is random, of this display alone, and in no argument of a process.

use std::{fs::OpenOptions, io, io::Write as _, os::unix::fs::OpenOptionsExt as _, path::Path};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
};
use zeroize::Zeroizing;

use crate::server::random::Random;

const COOKIE_BYTES: usize = 16;
const SCHEME: &[u8] = b"MIT-MAGIC-COOKIE-1";

/// What lets a program use the display.
pub struct Cookie(Zeroizing<[u8; COOKIE_BYTES]>);

impl Cookie {
    /// A fresh one.
    pub fn generate(random: &dyn Random) -> Self {
        let mut bytes = Zeroizing::new([0; COOKIE_BYTES]);
        random.fill(&mut *bytes);
        Self(bytes)
    }

    /// Writes it to a file that X servers and X programs read (Xau(3)). It is for whatever host and number, so the file is
    /// there before the display has a number.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        OpenOptions::new().create_new(true).write(true).mode(0o600).open(path)?.write_all(&self.entry())
    }

    fn entry(&self) -> Zeroizing<Vec<u8>> {
        const ANY_HOST: [u8; 2] = [0xff, 0xff];
        let mut entry = Zeroizing::new(Vec::with_capacity(64));
        entry.extend(ANY_HOST);
        for field in [b"", b"", SCHEME, self.0.as_slice()] {
            entry.extend(length(field).to_be_bytes());
            entry.extend(field);
        }
        entry
    }

    /// The first bytes of a connection: least significant byte first, protocol 11.0, the cookie.
    fn hello(&self) -> Zeroizing<Vec<u8>> {
        let mut hello = Zeroizing::new(Vec::with_capacity(64));
        hello.extend([b'l', 0]);
        for number in [11, 0, length(SCHEME), length(self.0.as_slice()), 0] {
            hello.extend(number.to_le_bytes());
        }
        for field in [SCHEME, self.0.as_slice()] {
            hello.extend(field);
            // fields fill four bytes each
            hello.extend(std::iter::repeat_n(0, field.len().wrapping_neg() % 4));
        }
        hello
    }
}

/// Fields are a few bytes long.
fn length(field: &[u8]) -> u16 {
    u16::try_from(field.len()).unwrap_or(u16::MAX)
}

fn socket(display: u32) -> String {
    format!("/tmp/.X11-unix/X{display}")
}

/// Whether there is an X server on the display.
pub async fn listens(display: u32) -> bool {
    UnixStream::connect(socket(display)).await.is_ok()
}

/// Removes the socket of an X server that ended without doing so.
pub async fn tidy(display: u32) {
    if !listens(display).await {
        // one of another user is not ours, and the system says so
        let _ = tokio::fs::remove_file(socket(display)).await;
    }
}

/// Whether the display answers, and takes the cookie.
///
/// # Errors
/// When it does not.
pub async fn answers(display: u32, cookie: &Cookie) -> io::Result<()> {
    let mut stream = UnixStream::connect(socket(display)).await?;
    stream.write_all(&cookie.hello()).await?;
    match stream.read_u8().await? {
        1 => Ok(()),
        _ => Err(io::Error::other("the display refuses the cookie")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::random::SeededRandom;

    #[test]
    fn the_bytes_are_those_of_the_protocol() {
        let cookie = Cookie::generate(&SeededRandom::new(1));
        let (entry, hello) = (cookie.entry(), cookie.hello());
        assert_eq!(entry.len(), 2 + 2 + 2 + 2 + 18 + 2 + 16);
        assert_eq!(&entry[..8], &[0xff, 0xff, 0, 0, 0, 0, 0, 18]);
        assert_eq!(hello.len(), 12 + 20 + 16);
        assert_eq!(&hello[..12], &[b'l', 0, 11, 0, 0, 0, 18, 0, 16, 0, 0, 0]);
        assert_eq!(&hello[32..], &cookie.0[..]);
    }
}
