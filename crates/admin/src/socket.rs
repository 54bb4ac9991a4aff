//! The admin socket's file.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use thiserror::Error;
use tokio::net::UnixListener;

/// The socket's name in the data directory.
pub const SOCKET_NAME: &str = "admin.sock";
/// Its owner may use it, nobody else.
const MODE: u32 = 0o600;
/// What the system allows for the path of a socket, closing zero included.
const PATH_BYTES_MAX: usize = 107;

/// Why there is no socket.
#[derive(Debug, Error)]
pub enum SocketError {
    /// The path is too long for a socket.
    #[error("the path {} has {bytes} bytes and a socket's may have {PATH_BYTES_MAX}; choose a data directory with a shorter path", path.display())]
    TooLong {
        /// The path.
        path: PathBuf,
        /// Its length.
        bytes: usize,
    },
    /// The system refused.
    #[error("cannot open the admin socket {}: {cause}", path.display())]
    Refused {
        /// The path.
        path: PathBuf,
        /// What it said.
        cause: io::Error,
    },
}

/// Opens the socket of a data directory that this process holds; what a former process left of it is replaced.
///
/// # Errors
/// [`SocketError`].
pub fn bind(data: &Path) -> Result<UnixListener, SocketError> {
    let path = data.join(SOCKET_NAME);
    let opening = data.join("admin.new");
    let bytes = path.as_os_str().len();
    if bytes > PATH_BYTES_MAX {
        return Err(SocketError::TooLong { path, bytes });
    }
    place(&opening, &path).map_err(|cause| SocketError::Refused { path, cause })
}

/// The file gets its name only once it has its mode: there is no moment at which others could connect.
fn place(opening: &Path, path: &Path) -> io::Result<UnixListener> {
    match fs::remove_file(opening) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(opening)?;
    fs::set_permissions(opening, Permissions::from_mode(MODE))?;
    fs::rename(opening, path)?;
    Ok(listener)
}
