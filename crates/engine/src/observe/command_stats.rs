//! CommandStats: how often each command was called on a shard, and how long it took.
//!
//! Calls are counted each. The time is taken of each call of a command that may be slow; of a quick one
//! (see `Command::is_quick`) of each of its first calls, and from then on of one in [`SAMPLE_EVERY`], which
//! stands for those before it. So a GET pays for its statistics with one addition and one comparison.
//!
//! Invariant: a command's histogram holds as many calls as its time stands for.
//! Not here: what becomes of slow ones (`slowlog`, `latency`).

use basalt_commands::config::Config;
use basalt_commands::{Command, table};

use crate::observe::histogram::Histogram;

/// Of so many calls of a quick command one is timed. A prime, so that it keeps step with no pipeline.
const SAMPLE_EVERY: u64 = 101;
/// So many of the first calls of a quick command are timed each, so that rare ones are measured truly.
const TIMED_EACH: u64 = 1000;
/// Where commands count as slow from so few microseconds on, all are timed.
const THRESHOLD_SMALL_US: i64 = 1000;
/// A request of so many bytes is timed, whatever it is.
pub(crate) const LARGE_REQUEST_BYTES: usize = 256 << 10;

/// All commands of a shard, by the numbers of their rows.
pub(crate) struct CommandStats {
    /// What is touched by each call, packed.
    hot: Box<[Hot]>,
    books: Box<[Book]>,
    times_all: bool,
    /// A session of HOTKEYS has the time of each call taken, whatever the settings are.
    is_measuring: bool,
    keeps_histograms: bool,
}

#[derive(Clone, Copy, Default)]
struct Hot {
    calls: u64,
    /// The call from which on the time is to be taken again.
    timed_at: u64,
}

/// What is kept of a command.
#[derive(Clone, Default, Debug)]
pub struct Book {
    pub calls: u64,
    /// Nanoseconds of all calls: those of quick commands are estimated from the ones that were timed.
    pub ns: u64,
    /// Calls that the time stands for.
    pub timed: u64,
    /// Refused before it ran.
    pub rejected: u64,
    /// Ran, and answered with an error.
    pub failed: u64,
    pub histogram: Option<Histogram>,
}

impl CommandStats {
    pub(crate) fn new(config: &Config) -> Self {
        let count = table::rows().len();
        let mut command_stats = Self {
            hot: vec![Hot::default(); count].into(),
            books: vec![Book::default(); count].into(),
            times_all: false,
            is_measuring: false,
            keeps_histograms: true,
        };
        command_stats.follow(config);
        command_stats
    }

    /// Acts on settings.
    pub(crate) fn follow(&mut self, config: &Config) {
        let small = 0..THRESHOLD_SMALL_US;
        self.times_all =
            small.contains(&config.slowlog_log_slower_than) || config.latency_monitor_threshold > 0;
        self.keeps_histograms = config.latency_tracking;
        self.time_next_calls();
    }

    /// From now on the time of each call is taken, or no longer.
    pub(crate) fn measure(&mut self, is_measuring: bool) {
        self.is_measuring = is_measuring;
        self.time_next_calls();
    }

    /// Where all calls are timed, so are the next.
    fn time_next_calls(&mut self) {
        if self.times_all || self.is_measuring {
            self.hot.iter_mut().for_each(|row| row.timed_at = 0);
        }
    }

    /// For how many calls one stands whose time is taken now, and which is counted already.
    pub(crate) fn untimed_calls(&self, number: u16) -> u64 {
        let number = usize::from(number);
        self.hot[number].calls.saturating_sub(self.books[number].timed).max(1)
    }

    /// Counts a call. Returns whether its time is to be taken, and passed to [`CommandStats::took`].
    #[inline]
    pub(crate) fn count(&mut self, number: u16) -> bool {
        let row = &mut self.hot[usize::from(number)];
        row.calls += 1;
        row.calls >= row.timed_at
    }

    /// A call that was counted was refused before it ran.
    #[cold]
    pub(crate) fn uncount(&mut self, number: u16) {
        self.hot[usize::from(number)].calls -= 1;
    }

    /// Whether the time of a call is to be taken that is counted when it is over.
    #[inline]
    pub(crate) fn is_next_timed(&self, number: u16) -> bool {
        let row = &self.hot[usize::from(number)];
        row.calls + 1 >= row.timed_at
    }

    /// The next call is to be timed.
    #[cold]
    pub(crate) fn time_next(&mut self, number: u16) {
        self.hot[usize::from(number)].timed_at = 0;
    }

    /// A call that was counted took so long. The time of all calls that it stands for.
    #[cold]
    pub(crate) fn took(&mut self, command: &Command, ns: u64) -> u64 {
        let row = &mut self.hot[usize::from(command.number)];
        let times_all = self.times_all || self.is_measuring;
        let samples = !times_all && command.is_quick() && row.calls >= TIMED_EACH;
        row.timed_at = if samples { row.calls + SAMPLE_EVERY } else { 0 };
        let book = &mut self.books[usize::from(command.number)];
        let stands_for = row.calls.saturating_sub(book.timed);
        book.timed += stands_for;
        book.ns = book.ns.saturating_add(ns.saturating_mul(stands_for));
        if self.keeps_histograms && stands_for > 0 {
            book.histogram.get_or_insert_default().add(ns, stands_for);
        }
        ns.saturating_mul(stands_for)
    }

    #[cold]
    pub(crate) fn rejected(&mut self, number: u16) {
        self.books[usize::from(number)].rejected += 1;
    }

    #[cold]
    pub(crate) fn failed(&mut self, number: u16) {
        self.books[usize::from(number)].failed += 1;
    }

    /// All calls.
    pub(crate) fn calls(&self) -> u64 {
        self.hot.iter().map(|row| row.calls).sum()
    }

    /// The books of all commands that were called or refused, with their numbers.
    pub(crate) fn books(&self, with_histograms: bool) -> Vec<(u16, Book)> {
        let books = self.hot.iter().zip(&self.books).zip(0..);
        let books = books.map(|((row, book), number)| {
            let histogram = book.histogram.as_ref().filter(|_| with_histograms).cloned();
            let book = Book { calls: row.calls, histogram, ..*book };
            (number, Book { ns: book.whole_ns(), timed: row.calls, ..book })
        });
        books.filter(|(_, book)| book.calls + book.rejected > 0).collect()
    }

    /// CONFIG RESETSTAT.
    pub(crate) fn reset(&mut self) {
        self.hot.fill(Hot::default());
        self.books.fill(Book::default());
    }
}

impl Book {
    /// Adds another shard's.
    pub fn absorb(&mut self, other: &Self) {
        self.calls += other.calls;
        self.ns = self.ns.saturating_add(other.ns);
        self.timed += other.timed;
        self.rejected += other.rejected;
        self.failed += other.failed;
        if let Some(histogram) = &other.histogram {
            self.histogram.get_or_insert_default().absorb(histogram);
        }
    }

    /// The time of all calls, those since the last sample taken like those before it.
    fn whole_ns(&self) -> u64 {
        let since = self.calls.saturating_sub(self.timed);
        if self.timed == 0 || since == 0 {
            return self.ns;
        }
        let more = u128::from(self.ns) * u128::from(since) / u128::from(self.timed);
        self.ns.saturating_add(u64::try_from(more).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &[u8]) -> &'static Command {
        table::find(name).expect("because it has a row")
    }

    fn call(command_stats: &mut CommandStats, command: &Command, ns: u64) -> bool {
        let timed = command_stats.count(command.number);
        if timed {
            command_stats.took(command, ns);
        }
        timed
    }

    fn book(command_stats: &CommandStats, command: &Command) -> Book {
        let mut books = command_stats.books(true).into_iter();
        books.find(|(number, _)| *number == command.number).expect("because it was called").1
    }

    #[test]
    fn quick_commands_are_sampled_and_slow_ones_are_not() {
        let mut command_stats = CommandStats::new(&Config::default());
        let (get, keys) = (row(b"get"), row(b"keys"));
        let timed =
            (0..TIMED_EACH + 10 * SAMPLE_EVERY).filter(|_| call(&mut command_stats, get, 200));
        assert_eq!(timed.count() as u64, TIMED_EACH + 10);
        assert_eq!((0..5000).filter(|_| call(&mut command_stats, keys, 1000)).count(), 5000);
        let get = book(&command_stats, get);
        assert_eq!((get.calls, get.ns), (2010, 2010 * 200));
        assert_eq!(get.histogram.map(|histogram| histogram.total()), Some(2010));
        assert_eq!((book(&command_stats, keys).ns, command_stats.calls()), (5_000_000, 7010));
    }

    #[test]
    fn all_are_timed_where_thresholds_are_small() {
        let config = Config { slowlog_log_slower_than: 0, ..Config::default() };
        let mut command_stats = CommandStats::new(&config);
        let get = row(b"get");
        assert_eq!((0..5000).filter(|_| call(&mut command_stats, get, 1)).count(), 5000);
        command_stats.follow(&Config::default());
        assert_eq!((0..=SAMPLE_EVERY).filter(|_| call(&mut command_stats, get, 1)).count(), 2);
        command_stats.time_next(get.number);
        assert!(call(&mut command_stats, get, 1) && !call(&mut command_stats, get, 1));
    }

    #[test]
    fn histograms_can_be_left_out() {
        let config = Config { latency_tracking: false, ..Config::default() };
        let mut command_stats = CommandStats::new(&config);
        let get = row(b"get");
        call(&mut command_stats, get, 7);
        assert!(book(&command_stats, get).histogram.is_none() && book(&command_stats, get).ns == 7);
        command_stats.reset();
        assert!(command_stats.books(true).is_empty());
    }
}
