//! Scanning off the async threads, and never more of it than the machine has cores for.

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::{FrameError, Limits, Reading, read_burst, read_frame};

/// Why a frame got no answer.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    /// The frame's fault.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// As many frames wait as may; nothing was begun. Contract §3: `overloaded`.
    #[error("too many frames are waiting to be read: try again in a moment")]
    Overloaded,
    /// The reading thread broke, or the service is stopping.
    #[error("the frame could not be read to the end")]
    Broken,
}

/// Reads frames on the blocking threads: `at_once` of them, and as many more wait as `waiting` says. The next is refused at
/// once, so that a burst ends in quick refusals and not in a heap of frames in memory.
///
/// Cheap to clone; clones share the places.
#[derive(Clone, Debug)]
pub struct ScanPool {
    limits: Limits,
    running: Arc<Semaphore>,
    /// Running and waiting together.
    places: Arc<Semaphore>,
}

impl ScanPool {
    /// A pool of `at_once` readers (at least one) with a queue of `waiting` frames.
    #[must_use]
    pub fn new(limits: Limits, at_once: usize, waiting: usize) -> Self {
        let at_once = at_once.max(1);
        Self {
            limits,
            running: Arc::new(Semaphore::new(at_once)),
            places: Arc::new(Semaphore::new(at_once.saturating_add(waiting).min(Semaphore::MAX_PERMITS))),
        }
    }

    /// One reader a core, and four frames waiting for each.
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

    /// [`read_frame`], in turn. A caller that goes away while waiting gives up its place; a look that has begun ends.
    /// # Errors
    /// [`ScanError`]: the frame's own fault, no place, or a broken thread.
    pub async fn read(&self, bytes: impl AsRef<[u8]> + Send + 'static) -> Result<Reading, ScanError> {
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| ScanError::Overloaded)?;
        let turn = Arc::clone(&self.running).acquire_owned().await.map_err(|_| ScanError::Broken)?;
        let limits = self.limits;
        let look = tokio::task::spawn_blocking(move || {
            // Both are held by the thread: a caller that has gone away doesn't make it faster.
            let (_place, _turn) = (place, turn);
            read_frame(bytes.as_ref(), &limits)
        });
        Ok(look.await.map_err(|_| ScanError::Broken)??)
    }

    /// [`read_burst`], in turn: the frames of one moment, which take one place and one budget.
    /// # Errors
    /// As [`Self::read`]; a frame's fault only where all of them are faulty.
    pub async fn read_burst(&self, frames: Vec<Arc<[u8]>>) -> Result<Vec<Reading>, ScanError> {
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| ScanError::Overloaded)?;
        let turn = Arc::clone(&self.running).acquire_owned().await.map_err(|_| ScanError::Broken)?;
        let limits = self.limits;
        let look = tokio::task::spawn_blocking(move || {
            let (_place, _turn) = (place, turn);
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
    async fn a_frame_beyond_the_places_is_refused_at_once_and_a_place_comes_back() {
        let pool = ScanPool::new(Limits::default(), 1, 1);
        let held = Arc::clone(&pool.running).acquire_owned().await.unwrap(); // a look that doesn't end
        let waiting = tokio::spawn({
            let pool = pool.clone();
            async move { pool.read(b"not an image".to_vec()).await }
        });
        tokio::task::yield_now().await; // it has its place now and waits for its turn
        let place = Arc::clone(&pool.places).acquire_owned().await.unwrap();
        assert!(matches!(pool.read(Vec::new()).await, Err(ScanError::Overloaded)));
        drop((held, place));
        assert!(matches!(waiting.await.unwrap(), Err(ScanError::Frame(FrameError::NotAnImage { .. }))));
        assert!(matches!(pool.read(Vec::new()).await, Err(ScanError::Frame(_))));
    }

    #[tokio::test]
    async fn a_caller_that_goes_away_gives_up_its_place() {
        let pool = ScanPool::new(Limits::default(), 1, 0);
        let held = Arc::clone(&pool.running).acquire_owned().await.unwrap();
        let gone = tokio::time::timeout(std::time::Duration::from_millis(5), pool.read(Vec::new())).await;
        assert!(gone.is_err());
        drop(held);
        assert!(matches!(pool.read(Vec::new()).await, Err(ScanError::Frame(_))));
    }
}
