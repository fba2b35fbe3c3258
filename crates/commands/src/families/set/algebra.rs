//! Unions, intersections and differences of sets, returned or stored.

use super::ROW;
use super::combine::{Diff, Inter, Members, Stored, Union, row};
use crate::argument::Argument;
use crate::command::{Command, Flags, KeySpec, Run};

pub(super) const ALGEBRA_ROW: Command = Command {
    since: "1.0.0",
    complexity: "O(N) for N members of all sets",
    arity: -2,
    flags: Flags::READONLY,
    tips: &["nondeterministic_output_order"],
    keys: &[KeySpec::all(1, &["RO", "access"])],
    arguments: &[Argument::KEYS],
    ..ROW
};

const STORE_ROW: Command = Command {
    arity: -3,
    flags: Flags::WRITE.or(Flags::DENYOOM),
    tips: &[],
    keys: &[
        KeySpec::at(1, &["OW", "update"]),
        KeySpec { first: 2, ..KeySpec::all(1, &["RO", "access"]) },
    ],
    arguments: &[Argument::key("destination", 0), Argument::key("key", 1).multiple()],
    ..ALGEBRA_ROW
};

pub(super) const SINTER: Command = Command {
    name: "sinter",
    summary: "Returns the intersection of sets.",
    complexity: "O(N*M) for N members of the smallest of M sets",
    run: Run::Many(&const { row::<Inter, Members>() }),
    shows: r#"> SADD odd 1 3 5 7
(integer) 4
> SADD prime 2 3 5 7
(integer) 4
@resp 2
@sorted
> SINTER odd prime
1) "3"
2) "5"
3) "7"
@resp 3
@sorted
> SINTER odd prime
1~ "3"
2~ "5"
3~ "7"
@resp 2
> SINTER odd absent
(empty array)
@resp 3
> SINTER odd absent
(empty set)
@resp any
> SET text value
OK
> SINTER absent text
(error) WRONGTYPE Operation against a key holding the wrong kind of value
"#,
    ..ALGEBRA_ROW
};

pub(super) const SINTERSTORE: Command = Command {
    name: "sinterstore",
    summary: "Stores the intersection of sets and returns its size.",
    complexity: "O(N*M) for N members of the smallest of M sets",
    run: Run::Many(&const { row::<Inter, Stored>() }),
    shows: r#"> SADD odd 1 3 5 7
(integer) 4
> SADD prime 2 3 5 7
(integer) 4
> SINTERSTORE both odd prime
(integer) 3
@resp 2
> SMEMBERS both
1) "3"
2) "5"
3) "7"
@resp 3
> SMEMBERS both
1~ "3"
2~ "5"
3~ "7"
@resp any
> SINTERSTORE both odd absent
(integer) 0
> EXISTS both
(integer) 0
"#,
    ..STORE_ROW
};

pub(super) const SUNION: Command = Command {
    name: "sunion",
    summary: "Returns the union of sets.",
    run: Run::Many(&const { row::<Union, Members>() }),
    shows: r#"> SADD odd 1 3 5
(integer) 3
> SADD prime 2 3 5
(integer) 3
@resp 2
@sorted
> SUNION odd prime absent
1) "1"
2) "2"
3) "3"
4) "5"
@resp 3
@sorted
> SUNION odd prime absent
1~ "1"
2~ "2"
3~ "3"
4~ "5"
@resp any
"#,
    ..ALGEBRA_ROW
};

pub(super) const SUNIONSTORE: Command = Command {
    name: "sunionstore",
    summary: "Stores the union of sets and returns its size.",
    run: Run::Many(&const { row::<Union, Stored>() }),
    shows: r#"> SADD odd 1 3 5
(integer) 3
> SADD prime 2 3 5
(integer) 3
> SUNIONSTORE all odd prime
(integer) 4
@resp 2
> SMEMBERS all
1) "1"
2) "2"
3) "3"
4) "5"
@resp 3
> SMEMBERS all
1~ "1"
2~ "2"
3~ "3"
4~ "5"
@resp any
"#,
    ..STORE_ROW
};

pub(super) const SDIFF: Command = Command {
    name: "sdiff",
    summary: "Returns the members of the first set that are in none of the others.",
    run: Run::Many(&const { row::<Diff, Members>() }),
    shows: r#"> SADD odd 1 3 5 9
(integer) 4
> SADD prime 2 3 5
(integer) 3
@resp 2
@sorted
> SDIFF odd prime
1) "1"
2) "9"
@resp 3
@sorted
> SDIFF odd prime
1~ "1"
2~ "9"
@resp 2
> SDIFF absent prime
(empty array)
@resp 3
> SDIFF absent prime
(empty set)
@resp any
"#,
    ..ALGEBRA_ROW
};

pub(super) const SDIFFSTORE: Command = Command {
    name: "sdiffstore",
    summary: "Stores the members of the first set that are in none of the others, and returns their number.",
    run: Run::Many(&const { row::<Diff, Stored>() }),
    shows: r#"> SADD odd 1 3 5 9
(integer) 4
> SADD prime 2 3 5
(integer) 3
> SDIFFSTORE left odd prime
(integer) 2
@resp 2
> SMEMBERS left
1) "1"
2) "9"
@resp 3
> SMEMBERS left
1~ "1"
2~ "9"
@resp any
"#,
    ..STORE_ROW
};
