//! Check: derives which transactions precede which, and searches for cycles.

use std::collections::HashMap;
use std::fmt;

use super::{Act, Fate, Transaction};

/// The anomalies of a history, by Adya's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A transaction does not see its own write, or sees a value that no transaction wrote.
    Internal,
    /// Readers of one list disagree on its order, or it has an element twice.
    Order,
    /// G1a: a read of an aborted transaction's write.
    G1a,
    /// G1b: a read of a value that its writer overwrote.
    G1b,
    /// G0: a cycle of writes.
    G0,
    /// G1c: a cycle of writes, and reads of what was written.
    G1c,
    /// G2: a cycle with reads of values that were overwritten.
    G2,
    /// A cycle only if real time counts: one transaction was answered before the other was sent.
    RealTime,
}

/// An anomaly in a history.
#[derive(Clone, Debug)]
pub struct Anomaly {
    pub kind: Kind,
    /// The transactions concerned, as indexes into the history.
    pub transactions: Vec<usize>,
    pub note: String,
}

impl fmt::Display for Anomaly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} among transactions {:?}: {}", self.kind, self.transactions, self.note)
    }
}

/// Why one transaction precedes another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Edge {
    /// Its write was overwritten by the other's.
    WriteWrite,
    /// Its write was read by the other.
    WriteRead,
    /// It read what the other overwrote.
    ReadWrite,
    /// It was answered before the other was sent.
    Time,
}

type Graph = Vec<Vec<(usize, Edge)>>;

/// Returns the first anomaly of a history, if there is one.
pub fn check(history: &[Transaction]) -> Result<(), Anomaly> {
    let mut graph: Graph = vec![Vec::new(); history.len()];
    let writers = writers(history)?;
    lists(history, &writers, &mut graph)?;
    registers(history, &writers, &mut graph)?;
    for (kind, most) in
        [(Kind::G0, Edge::WriteWrite), (Kind::G1c, Edge::WriteRead), (Kind::G2, Edge::ReadWrite)]
    {
        circle(&graph, most, history.len(), kind)?;
    }
    add_time(history, &mut graph);
    circle(&graph, Edge::Time, history.len(), Kind::RealTime)
}

fn anomaly(kind: Kind, transactions: &[usize], note: String) -> Anomaly {
    Anomaly { kind, transactions: transactions.to_vec(), note }
}

/// The writer of each id, and whether it was the transaction's last write to the key.
type Writers = HashMap<u64, (usize, bool)>;

fn writers(history: &[Transaction]) -> Result<Writers, Anomaly> {
    let mut writers = Writers::new();
    for (index, transaction) in history.iter().enumerate() {
        let mut last: HashMap<&str, u64> = HashMap::new();
        for act in &transaction.acts {
            if let Act::Append { key, id } | Act::Write { key, id } = act {
                if let Some((other, _)) = writers.insert(*id, (index, true)) {
                    let note = format!("{id} was written twice: the history itself is wrong");
                    return Err(anomaly(Kind::Internal, &[other, index], note));
                }
                if let Some(before) = last.insert(key, *id) {
                    writers.insert(before, (index, false));
                }
            }
        }
    }
    Ok(writers)
}

/// Checks that a read may see its value at all; returns the value's writer.
fn seen(
    history: &[Transaction],
    writers: &Writers,
    reader: usize,
    id: u64,
    is_latest: bool,
) -> Result<usize, Anomaly> {
    let Some(&(writer, is_last)) = writers.get(&id) else {
        return Err(anomaly(Kind::Internal, &[reader], format!("{id} was never written")));
    };
    if history[writer].fate == Fate::Refused {
        return Err(anomaly(Kind::G1a, &[writer, reader], format!("{id} was refused, but seen")));
    }
    if is_latest && !is_last && writer != reader {
        return Err(anomaly(Kind::G1b, &[writer, reader], format!("{id} was not the last")));
    }
    Ok(writer)
}

fn lists(history: &[Transaction], writers: &Writers, graph: &mut Graph) -> Result<(), Anomaly> {
    // The longest read of each key gives the order of its writes.
    let mut longest: HashMap<&str, (usize, &[u64])> = HashMap::new();
    for (index, act) in acts(history) {
        if let Act::ReadList { key, ids } = act {
            let known = longest.entry(key).or_insert((index, ids));
            let (short, long) =
                if known.1.len() < ids.len() { (known.1, &ids[..]) } else { (&ids[..], known.1) };
            if !long.starts_with(short) {
                let note = format!("{key} was read as {short:?} and as {long:?}");
                return Err(anomaly(Kind::Order, &[known.0, index], note));
            }
            if ids.len() > known.1.len() {
                *known = (index, ids);
            }
        }
    }
    for (&key, &(reader, ids)) in &longest {
        let mut before: Option<usize> = None;
        let mut all: Vec<u64> = ids.to_vec();
        all.sort_unstable();
        if all.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(anomaly(
                Kind::Order,
                &[reader],
                format!("{key} holds an id twice: {ids:?}"),
            ));
        }
        for &id in ids {
            let writer = seen(history, writers, reader, id, false)?;
            if let Some(before) = before.filter(|before| *before != writer) {
                graph[before].push((writer, Edge::WriteWrite));
            }
            before = Some(writer);
        }
    }
    for (index, transaction) in history.iter().enumerate() {
        let mut own: HashMap<&str, Vec<u64>> = HashMap::new();
        let mut read: HashMap<&str, &[u64]> = HashMap::new();
        for act in &transaction.acts {
            match act {
                Act::Append { key, id } => own.entry(key).or_default().push(*id),
                Act::ReadList { key, ids } => {
                    let mine = own.get(key.as_str()).map_or(&[][..], Vec::as_slice);
                    let Some(others) = ids.strip_suffix(mine) else {
                        let note = format!("{key} was read as {ids:?} after its own {mine:?}");
                        return Err(anomaly(Kind::Internal, &[index], note));
                    };
                    if *read.entry(key).or_insert(others) != others {
                        let note = format!("{key} changed under it to {ids:?}");
                        return Err(anomaly(Kind::Internal, &[index], note));
                    }
                    if let Some(&last) = others.last() {
                        let writer = seen(history, writers, index, last, true)?;
                        if writer != index {
                            graph[writer].push((index, Edge::WriteRead));
                        }
                    }
                    let next = longest[key.as_str()].1.get(others.len());
                    if let Some(&(writer, _)) = next.and_then(|next| writers.get(next))
                        && writer != index
                    {
                        graph[index].push((writer, Edge::ReadWrite));
                    }
                }
                _ => {}
            }
        }
    }
    Ok(())
}

fn acts(history: &[Transaction]) -> impl Iterator<Item = (usize, &Act)> {
    let all = history.iter().enumerate();
    all.flat_map(|(index, transaction)| transaction.acts.iter().map(move |act| (index, act)))
}

fn registers(history: &[Transaction], writers: &Writers, graph: &mut Graph) -> Result<(), Anomaly> {
    // The readers of a version, and the writer of the next version.
    let mut readers: HashMap<(&str, Option<u64>), Vec<usize>> = HashMap::new();
    let mut followers: HashMap<(&str, Option<u64>), Vec<usize>> = HashMap::new();
    for (index, transaction) in history.iter().enumerate() {
        let mut current: HashMap<&str, Option<u64>> = HashMap::new();
        let mut written: HashMap<&str, bool> = HashMap::new();
        for act in &transaction.acts {
            match act {
                Act::Read { key, id } => {
                    if let Some(&known) = current.get(key.as_str())
                        && known != *id
                    {
                        let note = format!("{key} was {known:?} and is {id:?}");
                        return Err(anomaly(Kind::Internal, &[index], note));
                    }
                    if let Some(id) = *id {
                        let writer = seen(history, writers, index, id, true)?;
                        if writer != index {
                            graph[writer].push((index, Edge::WriteRead));
                        }
                    }
                    if current.insert(key, *id).is_none() {
                        readers.entry((key, *id)).or_default().push(index);
                    }
                }
                Act::Write { key, id } => {
                    let is_first = written.insert(key, true).is_none();
                    if let (Some(&before), true) = (current.get(key.as_str()), is_first) {
                        followers.entry((key, before)).or_default().push(index);
                        if let Some(&(writer, _)) = before.and_then(|id| writers.get(&id))
                            && writer != index
                        {
                            graph[writer].push((index, Edge::WriteWrite));
                        }
                    }
                    current.insert(key, Some(*id));
                }
                _ => {}
            }
        }
    }
    for (version, writers) in &followers {
        for &reader in readers.get(version).into_iter().flatten() {
            for &writer in writers.iter().filter(|writer| **writer != reader) {
                if history[writer].fate == Fate::Done {
                    graph[reader].push((writer, Edge::ReadWrite));
                }
            }
        }
    }
    Ok(())
}

/// Adds the real-time order, through a node for each answer: from a transaction to its answer, from
/// answer to answer, and from the last answer before a transaction was sent to the transaction.
fn add_time(history: &[Transaction], graph: &mut Graph) {
    let first = graph.len();
    let done = |index: &usize| history[*index].fate == Fate::Done;
    let mut answers: Vec<usize> = (0..history.len()).filter(done).collect();
    answers.sort_by_key(|&index| history[index].answered_at);
    for (at, &index) in answers.iter().enumerate() {
        graph.push(Vec::new());
        graph[index].push((first + at, Edge::Time));
        if at > 0 {
            graph[first + at - 1].push((first + at, Edge::Time));
        }
    }
    for (index, transaction) in history.iter().enumerate() {
        let before =
            answers.partition_point(|&other| history[other].answered_at < transaction.asked_at);
        if before > 0 {
            graph[first + before - 1].push((index, Edge::Time));
        }
    }
}

/// Finds a cycle of edges up to a kind.
fn circle(graph: &Graph, most: Edge, count: usize, kind: Kind) -> Result<(), Anomaly> {
    // 0: not visited, 1: on the path, 2: done.
    let mut state = vec![0_u8; graph.len()];
    for start in 0..graph.len() {
        if state[start] != 0 {
            continue;
        }
        let mut path = vec![(start, 0)];
        state[start] = 1;
        while let Some((node, at)) = path.last_mut() {
            let Some(&(next, edge)) = graph[*node].get(*at) else {
                state[*node] = 2;
                path.pop();
                continue;
            };
            *at += 1;
            if edge > most || state[next] == 2 {
                continue;
            }
            if state[next] == 1 {
                let from = path.iter().position(|(node, _)| *node == next).expect("on the path");
                let circle = path[from..].iter().map(|(node, _)| *node);
                let circle: Vec<usize> = circle.filter(|node| *node < count).collect();
                return Err(anomaly(kind, &circle, "each comes before the next".into()));
            }
            state[next] = 1;
            path.push((next, 0));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transaction(times: (u64, u64), acts: &[Act]) -> Transaction {
        let (asked_at, answered_at) = times;
        Transaction { acts: acts.to_vec(), fate: Fate::Done, asked_at, answered_at }
    }

    fn append(key: &str, id: u64) -> Act {
        Act::Append { key: key.into(), id }
    }

    fn list(key: &str, ids: &[u64]) -> Act {
        Act::ReadList { key: key.into(), ids: ids.to_vec() }
    }

    fn write(key: &str, id: u64) -> Act {
        Act::Write { key: key.into(), id }
    }

    fn read(key: &str, id: Option<u64>) -> Act {
        Act::Read { key: key.into(), id }
    }

    /// All at the same time.
    fn kind(transactions: &[&[Act]]) -> Option<Kind> {
        let history: Vec<_> = transactions.iter().map(|acts| transaction((0, 9), acts)).collect();
        check(&history).err().map(|anomaly| anomaly.kind)
    }

    #[test]
    fn good_histories_are_good() {
        assert_eq!(
            kind(&[
                &[append("x", 1), append("y", 2), append("x", 3), list("x", &[1, 3])],
                &[list("x", &[1, 3]), append("y", 4)],
                &[list("y", &[2, 4]), list("x", &[1, 3])],
                &[list("x", &[]), list("y", &[])],
            ]),
            None
        );
        assert_eq!(
            kind(&[
                &[read("x", None), write("x", 1), read("x", Some(1))],
                &[read("x", Some(1)), write("x", 2), write("y", 3)],
                &[read("x", Some(1)), read("y", None)],
            ]),
            None
        );
    }

    #[test]
    fn each_anomaly_is_found_by_its_name() {
        let crossed: &[&[Act]] = &[
            &[append("x", 1), append("y", 2)],
            &[append("x", 3), append("y", 4)],
            &[list("x", &[1, 3])],
            &[list("y", &[4, 2])],
        ];
        assert_eq!(kind(crossed), Some(Kind::G0));
        let seeing_each_other: &[&[Act]] =
            &[&[append("x", 1), list("y", &[2])], &[append("y", 2), list("x", &[1])]];
        assert_eq!(kind(seeing_each_other), Some(Kind::G1c));
        let half: &[&[Act]] = &[
            &[append("x", 1), append("y", 2)],
            &[list("x", &[1]), list("y", &[])],
            &[list("y", &[2])],
        ];
        assert_eq!(kind(half), Some(Kind::G2));
        let skew: &[&[Act]] = &[
            &[list("x", &[]), append("y", 1)],
            &[list("y", &[]), append("x", 2)],
            &[list("x", &[2]), list("y", &[1])],
        ];
        assert_eq!(kind(skew), Some(Kind::G2));
        let in_the_midst: &[&[Act]] = &[&[append("x", 1), append("x", 2)], &[list("x", &[1])]];
        assert_eq!(kind(in_the_midst), Some(Kind::G1b));
        assert_eq!(kind(&[&[append("x", 1), list("x", &[])]]), Some(Kind::Internal));
        assert_eq!(kind(&[&[list("x", &[7])]]), Some(Kind::Internal));
        let disagreement: &[&[Act]] =
            &[&[append("x", 1)], &[append("x", 2)], &[list("x", &[1, 2])], &[list("x", &[2])]];
        assert_eq!(kind(disagreement), Some(Kind::Order));
    }

    #[test]
    fn lost_updates_and_torn_registers_are_found() {
        let lost: &[&[Act]] =
            &[&[read("x", None), write("x", 1)], &[read("x", None), write("x", 2)]];
        assert_eq!(kind(lost), Some(Kind::G2));
        let torn: &[&[Act]] = &[
            &[read("x", None), write("x", 1), read("y", None), write("y", 2)],
            &[read("x", Some(1)), read("y", None)],
        ];
        assert_eq!(kind(torn), Some(Kind::G2));
    }

    #[test]
    fn what_was_refused_is_never_seen() {
        let mut refused = transaction((0, 9), &[append("x", 1)]);
        refused.fate = Fate::Refused;
        let reader = transaction((0, 9), &[list("x", &[1])]);
        assert_eq!(check(&[refused, reader]).unwrap_err().kind, Kind::G1a);
    }

    #[test]
    fn an_answer_in_the_past_counts() {
        let stale = [
            transaction((0, 1), &[append("x", 1)]),
            transaction((5, 6), &[list("x", &[])]),
            transaction((7, 8), &[list("x", &[1])]),
        ];
        assert_eq!(check(&stale).unwrap_err().kind, Kind::RealTime);
        let concurrent = [
            transaction((0, 6), &[append("x", 1)]),
            transaction((5, 6), &[list("x", &[])]),
            transaction((7, 8), &[list("x", &[1])]),
        ];
        assert!(check(&concurrent).is_ok());
    }
}
