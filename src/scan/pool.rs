//! Scanning off the async threads, and never more of it than the machine has cores for; callers take turns.

use std::sync::Arc;

use uuid::Uuid;

use super::{
    FrameError, Limits, Reading,
    queue::{Full, Queue},
    read_burst,
};

/// Why a frame got no answer.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    /// The frame's fault.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// As many requests wait as may, in all or of this caller; nothing was begun. Contract §3: `overloaded`.
    #[error("too many frames are waiting to be read: try again in a moment")]
    Overloaded,
    /// The reading thread broke, or the service is stopping.
    #[error("the frame could not be read to the end")]
    Broken,
}

/// Reads frames on the blocking threads: so many requests at once, the others in turn, caller by caller (`Queue`). Who finds
/// the queue full is refused at once, so that a flood ends in quick refusals and not in a heap of frames in memory.
///
/// Cheap to clone; clones share the turns.
#[derive(Clone, Debug)]
pub struct ScanPool {
    limits: Limits,
    queue: Queue,
}

impl ScanPool {
    /// A pool of `at_once` readers (at least one) with a queue of `waiting` requests, of which one caller fills at most half.
    #[must_use]
    pub fn new(limits: Limits, at_once: usize, waiting: usize) -> Self {
        Self { limits, queue: Queue::new(at_once, waiting) }
    }

    /// One reader a core, and four requests waiting for each.
    #[must_use]
    pub fn of_this_machine(limits: Limits) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self::new(limits, cores, 4 * cores)
    }

    /// The limits that every frame is held to.
    #[must_use]
    pub const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// [`read_burst`] when it is `caller`'s turn: the frames of one moment, which take one turn and one budget. A caller that
    /// goes away while waiting gives up its place; a look that has begun ends.
    /// # Errors
    /// [`ScanError`]: a frame's own fault (where all of them are faulty), no place, or a broken thread.
    pub async fn read_burst(&self, caller: Uuid, frames: Vec<Arc<[u8]>>) -> Result<Vec<Reading>, ScanError> {
        let turn = self.queue.turn(caller).await.map_err(|Full| ScanError::Overloaded)?;
        let limits = self.limits;
        let look = tokio::task::spawn_blocking(move || {
            // The thread holds it: a caller that has gone away doesn't make it faster.
            let _turn = turn;
            let frames: Vec<&[u8]> = frames.iter().map(AsRef::as_ref).collect();
            read_burst(&frames, &limits)
        });
        Ok(look.await.map_err(|_| ScanError::Broken)??)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_frame_beyond_the_queue_is_refused_at_once_and_a_place_comes_back() {
        let pool = ScanPool::new(Limits::default(), 1, 0);
        let caller = Uuid::from_u128(1);
        let held = pool.queue.turn(caller).await.unwrap(); // a look that doesn't end
        assert!(matches!(pool.read_burst(caller, Vec::new()).await, Err(ScanError::Overloaded)));
        drop(held);
        let read = pool.read_burst(caller, vec![Arc::from(*b"not an image")]).await;
        assert!(matches!(read, Err(ScanError::Frame(FrameError::NotAnImage { .. }))));
        assert!(pool.read_burst(caller, Vec::new()).await.unwrap().is_empty());
    }
}
