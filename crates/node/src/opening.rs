//! Opening a data directory, as often as it takes while its disk has no room.
//!
//! A start may have to write: what a power cut took from the logs, a tail of the WAL that is cut off. On a full disk that is
//! not to be done, and no reason to end: nothing is lost by waiting. So the site waits, says where, for how much and what
//! to do (in its log, and to whoever asks whether it is ready), and goes on by itself.

use std::io::ErrorKind;
use std::time::Duration;

use admin::SocketError;
use site::RecoverError;
use tokio::sync::watch;

use crate::hold::HoldError;
use crate::room::Room;
use crate::run::ServeError;

/// How often it looks for room.
const LOOK: Duration = Duration::from_millis(500);

/// Opens a data directory; as long as there is no room for that, tells why and waits.
pub(crate) async fn when_there_is_room<T>(
    mut room: Room,
    waits: &watch::Sender<String>,
    mut open: impl FnMut() -> Result<T, ServeError>,
) -> Result<T, ServeError> {
    loop {
        room.give_back().map_err(partition::LogsError::from).map_err(RecoverError::from)?;
        let error = match open() {
            Err(error) if is_full(&error) => error,
            other => return other,
        };
        tell(&room.lack(&error.to_string()), waits);
        tokio::time::sleep(LOOK).await;
        while !room.may_start() {
            tokio::time::sleep(LOOK).await;
        }
    }
}

fn tell(why: &str, waits: &watch::Sender<String>) {
    let is_news = waits.send_if_modified(|told| {
        let is_news = told != why;
        why.clone_into(told);
        is_news
    });
    if is_news {
        tracing::warn!("{why}");
    }
}

/// Whether it is only that the disk has no room.
fn is_full(error: &ServeError) -> bool {
    let cause = match error {
        ServeError::Recover(error) => return error.is_full(),
        ServeError::Hold(HoldError::Unusable { cause, .. })
        | ServeError::Socket(SocketError::Refused { cause, .. }) => cause,
        _ => return false,
    };
    matches!(cause.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

#[cfg(test)]
mod tests {
    use std::io::{Error, ErrorKind};

    use disk::{DiskError, FileName};
    use tokio::sync::watch;

    use super::when_there_is_room;
    use crate::files::Files;
    use crate::hold::HoldError;
    use crate::room::Room;
    use crate::run::ServeError;

    fn full() -> ServeError {
        let error = DiskError::Full(FileName::new("logs/merged.index").unwrap());
        ServeError::Recover(partition::LogsError::from(error).into())
    }

    fn unusable(kind: ErrorKind) -> ServeError {
        HoldError::Unusable { folder: "data".into(), cause: Error::from(kind) }.into()
    }

    async fn opened(mut outcomes: Vec<Result<u8, ServeError>>) -> (Result<u8, ServeError>, usize, String) {
        let folder = tempfile::tempdir().unwrap();
        let room = Room::new(Files::new(folder.path().to_owned()), 8 << 10);
        let (waits, told) = watch::channel("it is starting".to_owned());
        let outcome = when_there_is_room(room, &waits, || outcomes.remove(0)).await;
        let said = told.borrow().replace(&folder.path().display().to_string(), "DATA");
        (outcome, outcomes.len(), said)
    }

    #[tokio::test]
    async fn it_waits_while_there_is_no_room_says_so_and_goes_on() {
        let (outcome, left, said) =
            opened(vec![Err(unusable(ErrorKind::StorageFull)), Err(full()), Ok(7)]).await;
        assert!(matches!(outcome, Ok(7)) && left == 0);
        for part in ["DATA has no room", "logs/merged.index", "1024 bytes are free", "remove other files"] {
            assert!(said.contains(part), "{said}");
        }
    }

    #[tokio::test]
    async fn what_no_room_would_cure_is_said_at_once() {
        let (outcome, left, said) = opened(vec![Err(unusable(ErrorKind::PermissionDenied)), Ok(7)]).await;
        assert!(matches!(outcome, Err(ServeError::Hold(_))) && left == 1);
        assert_eq!(said, "it is starting");
    }
}
