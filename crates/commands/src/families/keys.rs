//! Keys: commands on keys of any type.

mod copy;
mod dump;
pub(super) mod expire;
mod object;
mod present;
pub(super) mod scan;
mod sort;
mod wait;

use crate::command::{Categories, Command, Group};

pub use scan::{ScanRequest, parse_scan, wants_every_key};
pub use wait::{WaitAofRequest, WaitRequest, parse_wait, parse_waitaof};

pub(crate) const COMMANDS: &[Command] = &[
    copy::COPY,
    present::DEL,
    dump::DUMP,
    present::EXISTS,
    expire::EXPIRE,
    expire::EXPIREAT,
    expire::EXPIRETIME,
    scan::KEYS,
    copy::MOVE,
    object::OBJECT,
    expire::PERSIST,
    expire::PEXPIRE,
    expire::PEXPIREAT,
    expire::PEXPIRETIME,
    expire::PTTL,
    scan::RANDOMKEY,
    copy::RENAME,
    copy::RENAMENX,
    dump::RESTORE,
    dump::RESTORE_ASKING,
    scan::SCAN,
    sort::SORT,
    sort::SORT_RO,
    present::TOUCH,
    expire::TTL,
    present::TYPE,
    present::UNLINK,
    wait::WAIT,
    wait::WAITAOF,
];

/// The common part of this family's rows.
const ROW: Command = Command { group: Group::Generic, also: Categories::KEYSPACE, ..Command::ROW };

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::assert_documented;

    #[test]
    fn options_are_documented() {
        assert_documented(&copy::COPY_OPTIONS, &copy::COPY);
        assert_documented(&dump::RESTORE_OPTIONS, &dump::RESTORE);
        assert_documented(&expire::CONDITIONS, &expire::EXPIRE);
        assert_documented(&scan::SCAN_OPTIONS, &scan::SCAN);
    }
}
