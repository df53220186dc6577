//! A clock and random numbers for one thread of the tests: both are what they were told
//! to be, so that a run can be had again from its seed.

use std::cell::RefCell;

use crate::model::{Mono, Wall};

/// What a simulated thread's clocks and dice stand at.
#[derive(Debug, Clone, Default)]
struct Clock {
    mono: Mono,
    /// Wall time at monotonic time 0, as the host that is being played has it.
    wall_at_zero: i64,
    dice: Dice,
    /// What was logged since it was last asked.
    log: Vec<String>,
    broken: Option<Broken>,
}

/// A way in which the programs are to be wrong, to see whether that is found out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// A manager acknowledges what is not durable yet.
    AckBeforeSync,
    /// A manager stores what it has already.
    NoDedupe,
    /// An agent deletes what it has sent.
    DeleteBeforeAck,
}

impl Broken {
    pub const ALL: [Broken; 3] = [
        Broken::AckBeforeSync,
        Broken::NoDedupe,
        Broken::DeleteBeforeAck,
    ];
}

/// Pseudo-random numbers (SplitMix64, Steele, Lea and Flood 2014).
#[derive(Debug, Clone, Default)]
pub struct Dice(u64);

impl Dice {
    /// Dice that throw the same for the same seed.
    pub fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    /// 64 random bits.
    pub fn throw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, which is not 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.throw() % bound
    }

    /// True once in `times`.
    pub fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// One of these.
    pub fn one_of<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len() as u64) as usize]
    }
}

thread_local! {
    static CLOCK: RefCell<Option<Clock>> = const { RefCell::new(None) };
}

/// The thread's clock is simulated until this is dropped.
#[derive(Debug)]
pub struct Simulated(());

impl Drop for Simulated {
    fn drop(&mut self) {
        CLOCK.with(|clock| *clock.borrow_mut() = None);
    }
}

fn with<T>(what: impl FnOnce(&mut Clock) -> T) -> Option<T> {
    CLOCK.with(|clock| clock.borrow_mut().as_mut().map(what))
}

/// Has this thread live in simulated time, which stands still until it is set.
pub fn start(seed: u64) -> Simulated {
    let clock = Clock {
        dice: Dice::new(seed),
        ..Clock::default()
    };
    CLOCK.with(|cell| *cell.borrow_mut() = Some(clock));
    Simulated(())
}

/// Sets the time.
pub fn set_mono(time: Mono) {
    with(|clock| clock.mono = time);
}

/// Sets what wall clocks say at monotonic time 0, in milliseconds since 1970.
pub fn set_wall_at_zero(ms: i64) {
    with(|clock| clock.wall_at_zero = ms);
}

/// Whether this thread lives in simulated time.
pub fn is_on() -> bool {
    with(|_| ()).is_some()
}

pub(super) fn mono() -> Option<Mono> {
    with(|clock| clock.mono)
}

pub(super) fn wall() -> Option<Wall> {
    with(|clock| {
        let ms = clock.wall_at_zero + i64::try_from(clock.mono.0 / 1000).expect("a short run");
        Wall(u64::try_from(ms).unwrap_or(0))
    })
}

pub(super) fn random() -> Option<u64> {
    with(|clock| clock.dice.throw())
}

/// Has the programs be wrong on this thread.
pub fn break_on_purpose(broken: Option<Broken>) {
    with(|clock| clock.broken = broken);
}

/// Whether they are to be wrong in this way.
pub fn is_broken(broken: Broken) -> bool {
    with(|clock| clock.broken == Some(broken)).unwrap_or(false)
}

/// Takes a line for the log; false where there is no simulated one.
pub fn log(line: &str) -> bool {
    with(|clock| clock.log.push(line.to_string())).is_some()
}

/// What was logged since this was last asked.
pub fn logged() -> Vec<String> {
    with(|clock| std::mem::take(&mut clock.log)).unwrap_or_default()
}
