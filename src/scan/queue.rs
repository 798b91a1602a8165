//! Whose turn it is. Callers take turns, each with its own frames in their order: who sends a heap of them makes only its own
//! frames wait.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;
use uuid::Uuid;

/// The turns of one pool. Cheap to clone; clones share them.
#[derive(Clone, Debug)]
pub(super) struct Queue(Arc<Mutex<Lanes>>);

#[derive(Debug)]
struct Lanes {
    /// Turns that nobody has. While there is one, nobody waits.
    free: usize,
    /// How many may wait in all, and of one caller.
    most: usize,
    most_of_one: usize,
    /// Those who wait, by caller: the next turn is the first lane's, which then goes to the end.
    waiting: VecDeque<Lane>,
}

#[derive(Debug)]
struct Lane {
    caller: Uuid,
    waiting: VecDeque<oneshot::Sender<Turn>>,
}

/// The right to look at one request's frames. Whoever drops it passes it on.
#[derive(Debug)]
pub(super) struct Turn(Queue);

/// As many wait as may, in all or of this caller.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Full;

impl Queue {
    /// `at_once` turns, at least one. So many may wait in all, and half of them, at least one, of the same caller.
    pub(super) fn new(at_once: usize, waiting: usize) -> Self {
        let most_of_one = waiting.div_ceil(2);
        let waiting = Lanes { free: at_once.max(1), most: waiting, most_of_one, waiting: VecDeque::new() };
        Self(Arc::new(Mutex::new(waiting)))
    }

    /// A turn, at once or in time; whoever stops waiting for it gives up its place.
    /// # Errors
    /// [`Full`], at once.
    pub(super) async fn turn(&self, caller: Uuid) -> Result<Turn, Full> {
        let turn = {
            let mut lanes = self.lanes();
            if lanes.free > 0 {
                lanes.free -= 1;
                return Ok(Turn(self.clone()));
            }
            lanes.join(caller)?
        };
        // each turn is passed on until the last one is dropped, so a sender that waits is never lost
        turn.await.map_err(|_| Full)
    }

    /// The turn goes to the next who still waits, or is free.
    fn pass_on(&self) {
        let next = {
            let mut lanes = self.lanes();
            let next = lanes.next();
            if next.is_none() {
                lanes.free += 1;
            }
            next
        };
        if let Some(next) = next {
            // one who has just gone away hands it back, and it is dropped here and so passed on
            drop(next.send(Turn(self.clone())));
        }
    }

    fn lanes(&self) -> MutexGuard<'_, Lanes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.pass_on();
    }
}

impl Lanes {
    fn join(&mut self, caller: Uuid) -> Result<oneshot::Receiver<Turn>, Full> {
        for lane in &mut self.waiting {
            lane.waiting.retain(|one| !one.is_closed()); // they have gone away
        }
        self.waiting.retain(|lane| !lane.waiting.is_empty());
        let all: usize = self.waiting.iter().map(|lane| lane.waiting.len()).sum();
        let at = self.waiting.iter().position(|lane| lane.caller == caller);
        let own = at.map_or(0, |at| self.waiting[at].waiting.len());
        if all >= self.most || own >= self.most_of_one {
            return Err(Full);
        }
        let (sender, receiver) = oneshot::channel();
        match at {
            Some(at) => self.waiting[at].waiting.push_back(sender),
            None => self.waiting.push_back(Lane { caller, waiting: VecDeque::from([sender]) }),
        }
        Ok(receiver)
    }

    fn next(&mut self) -> Option<oneshot::Sender<Turn>> {
        while let Some(mut lane) = self.waiting.pop_front() {
            let next = lane.waiting.pop_front();
            if !lane.waiting.is_empty() {
                self.waiting.push_back(lane);
            }
            if next.is_some() {
                return next;
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::Future,
        pin::{Pin, pin},
        task::{Context, Poll, Waker},
    };

    use super::*;

    const FLOOD: Uuid = Uuid::from_u128(1);
    const OTHER: Uuid = Uuid::from_u128(2);
    const THIRD: Uuid = Uuid::from_u128(3);

    type Waiting = Pin<Box<dyn Future<Output = Result<Turn, Full>>>>;

    /// One who asks for a turn, and what it hears at once.
    fn asks(queue: &Queue, caller: Uuid) -> (Waiting, Poll<Result<Turn, Full>>) {
        let queue = queue.clone();
        let mut asking: Waiting = Box::pin(async move { queue.turn(caller).await });
        let heard = poll(&mut asking);
        (asking, heard)
    }

    fn poll<T>(waiting: &mut (impl Future<Output = T> + Unpin)) -> Poll<T> {
        pin!(waiting).poll(&mut Context::from_waker(Waker::noop()))
    }

    fn waits(queue: &Queue, caller: Uuid) -> Waiting {
        let (waiting, heard) = asks(queue, caller);
        assert!(heard.is_pending());
        waiting
    }

    fn gets(queue: &Queue, caller: Uuid) -> Turn {
        let (_, Poll::Ready(Ok(turn))) = asks(queue, caller) else { panic!("no turn") };
        turn
    }

    fn is_refused(queue: &Queue, caller: Uuid) -> bool {
        matches!(asks(queue, caller).1, Poll::Ready(Err(Full)))
    }

    #[test]
    fn callers_take_turns_and_each_callers_frames_keep_their_order() {
        let queue = Queue::new(1, 12);
        let mut turn = gets(&queue, FLOOD);
        let mut waiting: Vec<(usize, Waiting)> = [FLOOD, FLOOD, FLOOD, OTHER, OTHER, THIRD]
            .map(|caller| waits(&queue, caller))
            .into_iter()
            .enumerate()
            .collect();
        let mut order = Vec::new();
        while !waiting.is_empty() {
            drop(turn);
            let mut next: Vec<(usize, Turn)> = Vec::new();
            waiting.retain_mut(|(nth, one)| match poll(one) {
                Poll::Ready(got) => {
                    next.push((*nth, got.unwrap()));
                    false
                }
                Poll::Pending => true,
            });
            let [(nth, got)] = <[_; 1]>::try_from(next).expect("one turn goes to one");
            order.push(nth);
            turn = got;
        }
        assert_eq!(order, [0, 3, 5, 1, 4, 2], "flood, other, third, flood, other, flood");
    }

    #[test]
    fn one_caller_fills_half_the_queue_and_all_together_the_whole() {
        let queue = Queue::new(2, 4);
        let _looking = [gets(&queue, FLOOD), gets(&queue, FLOOD)];
        let _flood = [waits(&queue, FLOOD), waits(&queue, FLOOD)];
        assert!(is_refused(&queue, FLOOD));
        let _others = [waits(&queue, OTHER), waits(&queue, THIRD)];
        assert!(is_refused(&queue, OTHER) && is_refused(&queue, FLOOD));
    }

    #[test]
    fn who_goes_away_gives_up_its_place_and_holds_nobody_up() {
        let queue = Queue::new(1, 2);
        let looking = gets(&queue, FLOOD);
        let gone = waits(&queue, FLOOD);
        assert!(is_refused(&queue, FLOOD));
        drop(gone);
        let gone_later = waits(&queue, FLOOD);
        let mut patient = waits(&queue, OTHER);
        drop(gone_later);
        drop(looking);
        let Poll::Ready(Ok(turn)) = poll(&mut patient) else { panic!("held up") };
        drop(turn);
        drop(gets(&queue, THIRD)); // and it is free again
    }

    #[test]
    fn a_turn_that_reaches_one_who_has_just_gone_away_is_passed_on() {
        let queue = Queue::new(1, 2);
        let looking = gets(&queue, FLOOD);
        let reached = waits(&queue, FLOOD);
        drop(looking); // the turn lies in its channel now
        drop(reached);
        drop(gets(&queue, OTHER));
    }

    #[test]
    fn without_a_queue_who_comes_too_late_is_refused() {
        let queue = Queue::new(0, 0);
        let looking = gets(&queue, FLOOD);
        assert!(is_refused(&queue, OTHER));
        drop(looking);
        drop(gets(&queue, OTHER));
    }
}
