//! A few connections for many callers: opened as they are needed, one at a time, up to a number.
//!
//! It knows nothing of PostgreSQL: whoever takes a place says what became of it. Places are given
//! to callers in the order in which they came.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::Semaphore;
use tokio::time::Instant;

/// How long no further connection is opened after the server refused one, for example because it
/// has no free slot.
const PAUSE: Duration = Duration::from_secs(5);

/// How long a connection may be idle while others are in use. Then it is one more than is needed.
const SURPLUS_AFTER: Duration = Duration::from_secs(60);

/// The connections.
#[derive(Debug)]
pub(super) struct Pool<T> {
    /// A permit for each idle connection, and one for the vacancy if it is open. It hands them out
    /// in the order of the calls.
    permits: Semaphore,
    state: Mutex<State<T>>,
    /// The most connections there may be.
    most: usize,
}

#[derive(Debug)]
struct State<T> {
    /// The most recently used one is the last, and the first to be used again: so those beyond
    /// need stay idle.
    idle: Vec<Idle<T>>,
    /// How many connections there are, in use or idle.
    count: usize,
    vacancy: VacancyState,
    /// When a connection was last lost. Those opened earlier are not trusted any more: a failover
    /// ends all of them, and a path that died shows no error.
    lost_at: Option<Instant>,
}

/// The one right to open a connection. With one right, connections are opened one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum VacancyState {
    /// It has a permit, or a caller who took it is connecting.
    Open,
    /// There is none: there are as many connections as there may be.
    Full,
    /// There is none until then, because connecting has failed.
    Closed(Instant),
}

/// A connection that was idle.
#[derive(Debug)]
pub(super) struct Idle<T> {
    pub(super) connection: T,
    /// Since when, by the wall clock: monotonic clocks stand still while the environment is frozen.
    pub(super) since: SystemTime,
    opened: Instant,
}

/// What a caller gets.
#[derive(Debug)]
pub(super) enum Place<'a, T> {
    /// An idle connection.
    Taken(Idle<T>, Share<'a, T>),
    /// None is idle; the caller may open one.
    Vacant(Vacancy<'a, T>),
}

/// A caller's hold on a connection. Dropping it means that the connection is not used again.
#[derive(Debug)]
pub(super) struct Share<'a, T> {
    pool: &'a Pool<T>,
    opened: Instant,
}

/// The right to open a connection. Dropping it leaves it to the next caller.
#[derive(Debug)]
pub(super) struct Vacancy<'a, T> {
    pool: &'a Pool<T>,
    taken: Instant,
}

impl<T> Pool<T> {
    /// A pool of at most this many connections, and at least one.
    pub(super) fn new(most: usize) -> Self {
        Self {
            permits: Semaphore::new(1),
            state: Mutex::new(State {
                idle: Vec::new(),
                count: 0,
                vacancy: VacancyState::Open,
                lost_at: None,
            }),
            most,
        }
    }

    /// Waits for a place. It can be cancelled.
    pub(super) async fn place(&self) -> Place<'_, T> {
        loop {
            self.reopen_vacancy();
            if let Ok(permit) = self.permits.acquire().await {
                permit.forget();
            }
            let mut state = self.state();
            let Some(idle) = state.idle.pop() else {
                return Place::Vacant(Vacancy {
                    pool: self,
                    taken: Instant::now(),
                });
            };
            let share = Share {
                pool: self,
                opened: idle.opened,
            };
            let is_trusted = state.trusts(idle.opened);
            drop(state);
            if is_trusted {
                return Place::Taken(idle, share);
            }
        }
    }

    /// How many connections there are, in use or idle.
    pub(super) fn count(&self) -> usize {
        self.state().count
    }

    /// Opens the vacancy again when its time has come.
    fn reopen_vacancy(&self) {
        let mut state = self.state();
        if let VacancyState::Closed(until) = state.vacancy
            && Instant::now() >= until
        {
            self.open_vacancy(&mut state);
        }
    }

    fn open_vacancy(&self, state: &mut State<T>) {
        state.vacancy = VacancyState::Open;
        self.permits.add_permits(1);
    }

    /// A connection is gone and leaves room for another. If it was the last one, there is none left
    /// to wait for, and the next caller has to connect.
    fn gone(&self, state: &mut State<T>) {
        state.count -= 1;
        match state.vacancy {
            VacancyState::Full => self.open_vacancy(state),
            VacancyState::Closed(_) if state.count == 0 => self.open_vacancy(state),
            VacancyState::Closed(_) | VacancyState::Open => {}
        }
    }

    /// Takes out the connection that has been idle for longest if it is one more than is needed.
    fn surplus(&self, state: &mut State<T>) -> Option<T> {
        let oldest = state.idle.first()?.since;
        if oldest.elapsed().ok()? < SURPLUS_AFTER {
            return None;
        }
        // Without a permit left, a caller is about to use it.
        self.permits.try_acquire().ok()?.forget();
        self.gone(state);
        Some(state.idle.remove(0).connection)
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> State<T> {
    fn trusts(&self, opened: Instant) -> bool {
        self.lost_at.is_none_or(|lost_at| lost_at <= opened)
    }
}

impl<T> Share<'_, T> {
    /// Puts the connection back for the next caller. Returns a connection to close, if there is one
    /// more than is needed.
    pub(super) fn keep(self, connection: T) -> Option<T> {
        let mut state = self.pool.state();
        if !state.trusts(self.opened) {
            drop(state);
            return Some(connection);
        }
        state.idle.push(Idle {
            connection,
            since: SystemTime::now(),
            opened: self.opened,
        });
        self.pool.permits.add_permits(1);
        let surplus = self.pool.surplus(&mut state);
        drop(state);
        std::mem::forget(self);
        surplus
    }

    /// The connection was lost, so those opened before now are not used again either.
    pub(super) fn lost(self) {
        self.pool.state().lost_at = Some(Instant::now());
    }
}

impl<T> Drop for Share<'_, T> {
    fn drop(&mut self) {
        self.pool.gone(&mut self.pool.state());
    }
}

impl<'a, T> Vacancy<'a, T> {
    /// A connection was opened. There is another vacancy unless this was the last.
    pub(super) fn filled(self) -> Share<'a, T> {
        let (pool, opened) = (self.pool, self.taken);
        std::mem::forget(self);
        let mut state = pool.state();
        state.count += 1;
        if state.count < pool.most {
            pool.open_vacancy(&mut state);
        } else {
            state.vacancy = VacancyState::Full;
        }
        drop(state);
        Share { pool, opened }
    }

    /// Connecting failed. If there are other connections, none is opened for a while, and callers
    /// go on with those.
    pub(super) fn failed(self) {
        let mut state = self.pool.state();
        if state.count > 0 {
            state.vacancy = VacancyState::Closed(Instant::now() + PAUSE);
            drop(state);
            std::mem::forget(self);
        }
    }
}

impl<T> Drop for Vacancy<'_, T> {
    fn drop(&mut self) {
        self.pool.open_vacancy(&mut self.pool.state());
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::FutureExt;

    use super::*;

    /// A place that is there without waiting.
    #[track_caller]
    fn place(pool: &Pool<u32>) -> Place<'_, u32> {
        pool.place().now_or_never().expect("a place")
    }

    fn is_waited_for(pool: &Pool<u32>) -> bool {
        pool.place().now_or_never().is_none()
    }

    #[track_caller]
    fn vacancy(pool: &Pool<u32>) -> Vacancy<'_, u32> {
        match place(pool) {
            Place::Vacant(vacancy) => vacancy,
            Place::Taken(idle, _) => panic!("{} is idle", idle.connection),
        }
    }

    #[track_caller]
    fn taken(pool: &Pool<u32>) -> (u32, Share<'_, u32>) {
        match place(pool) {
            Place::Taken(idle, share) => (idle.connection, share),
            Place::Vacant(_) => panic!("nothing is idle"),
        }
    }

    /// A pool with this many idle connections, 1, 2, …; the last one was used most recently.
    fn with_idle(count: u32, most: usize) -> Pool<u32> {
        let pool = Pool::new(most);
        let opened: Vec<_> = (1..=count)
            .map(|number| (number, vacancy(&pool).filled()))
            .collect();
        for (number, share) in opened {
            assert_eq!(share.keep(number), None);
        }
        pool
    }

    #[test]
    fn connections_are_opened_one_at_a_time_up_to_the_most() {
        let pool = Pool::new(2);
        let vacant = vacancy(&pool);
        assert!(is_waited_for(&pool), "one is being opened");
        let one = vacant.filled();
        let two = vacancy(&pool).filled();
        assert!(is_waited_for(&pool), "there are two");
        one.keep(1);
        two.keep(2);
        assert_eq!(pool.count(), 2);
    }

    #[test]
    fn the_most_recently_used_connection_is_used_first() {
        let pool = with_idle(3, 8);
        let (number, share) = taken(&pool);
        assert_eq!(number, 3);
        share.keep(number);
        assert_eq!(taken(&pool).0, 3);
    }

    #[test]
    fn callers_are_served_in_the_order_in_which_they_came() {
        let pool = with_idle(1, 1);
        let (_, share) = taken(&pool);
        let (first, second) = (pool.place(), pool.place());
        let (mut first, mut second) = (pin!(first), pin!(second));
        assert!(first.as_mut().now_or_never().is_none());
        assert!(second.as_mut().now_or_never().is_none());
        share.keep(1);
        assert!(is_waited_for(&pool), "those who waited come first");
        assert!(second.as_mut().now_or_never().is_none());
        assert!(first.now_or_never().is_some());
    }

    #[test]
    fn a_connection_that_is_gone_leaves_room_for_another() {
        let pool = with_idle(2, 2);
        let (two, one) = (taken(&pool), taken(&pool));
        assert!(is_waited_for(&pool));
        drop(two);
        vacancy(&pool).filled().keep(3);
        drop(one);
        assert_eq!(taken(&pool).0, 3);
    }

    #[test]
    fn a_vacancy_that_was_not_used_is_left_to_the_next_caller() {
        let pool = Pool::new(1);
        drop(vacancy(&pool));
        vacancy(&pool).failed();
        drop(vacancy(&pool));
        assert_eq!(pool.count(), 0);
    }

    #[test]
    fn a_caller_that_leaves_while_it_waits_takes_nothing_along() {
        let pool = with_idle(1, 1);
        let (_, share) = taken(&pool);
        {
            let waiting = pin!(pool.place());
            assert!(waiting.now_or_never().is_none());
        }
        share.keep(1);
        assert_eq!(taken(&pool).0, 1);
    }

    #[test]
    fn after_a_failure_nothing_is_opened_for_a_while_unless_nothing_is_left() {
        let pool = with_idle(1, 8);
        let (number, share) = taken(&pool);
        vacancy(&pool).failed();
        assert!(is_waited_for(&pool));
        pool.state().vacancy = VacancyState::Closed(Instant::now());
        vacancy(&pool).failed();
        assert!(is_waited_for(&pool));

        // One who waits already learns that there is no connection left to wait for.
        let mut waiting = pin!(pool.place());
        assert!(waiting.as_mut().now_or_never().is_none());
        drop((number, share));
        assert!(matches!(waiting.now_or_never(), Some(Place::Vacant(_))));
    }

    #[test]
    fn connections_from_before_a_loss_are_not_used_again() {
        let pool = with_idle(3, 3);
        let (lost, returned) = (taken(&pool), taken(&pool));
        lost.1.lost();
        assert_eq!(returned.1.keep(2), Some(2), "it is to be closed");
        vacancy(&pool).filled().keep(4);
        assert_eq!(pool.count(), 1, "the idle one is gone, too");
        assert_eq!(taken(&pool).0, 4);
    }

    #[test]
    fn a_connection_beyond_need_is_returned_to_be_closed() {
        let pool = with_idle(2, 2);
        pool.state().idle[0].since = SystemTime::UNIX_EPOCH;
        let (number, share) = taken(&pool);
        assert_eq!((number, share.keep(number)), (2, Some(1)));
        assert_eq!(pool.count(), 1);
        let (_, share) = taken(&pool);
        drop(vacancy(&pool));
        drop(share);
    }
}
