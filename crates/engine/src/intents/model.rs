//! The protocol in every order: two shards, three transactions, each over both shards, begun and delivered
//! in every order that the channels allow. The first has its home on a third, where nothing of it is, so
//! that what it asks of the two can overtake what they send each other.

use std::collections::{HashSet, VecDeque};

use basalt_keyspace::ShardId;

use super::{Event, Holding, Intent, Intents, Mode, Number, Scope};

const SHARDS: usize = 2;
/// Those, and one that is only a home.
const CORES: usize = 3;
const TRANSACTIONS: usize = 3;

#[derive(Clone, Copy, Debug)]
enum Notification {
    Schedule,
    /// Home has granted: decided by who gets it, if nobody is in the way.
    Entrust,
    Granted,
    Waits,
    Ran,
    Inquire,
    GiveBack,
    Release,
}

/// Where a transaction stands at its home.
#[derive(Clone, Debug)]
enum Stage {
    NotBegun,
    Waiting(Holding),
    Over,
}

#[derive(Clone)]
struct State {
    shards: [Intents; SHARDS],
    stages: [Stage; TRANSACTIONS],
    /// By sender and receiver: which transaction, and what of it.
    channels: [[VecDeque<(usize, Notification)>; CORES]; CORES],
    /// Which transactions are decided, and not yet released on a shard.
    in_force: [[bool; TRANSACTIONS]; SHARDS],
}

/// What may happen next.
#[derive(Clone, Copy)]
enum Step {
    /// With a home that asks all shards, or one that entrusts the other where it can.
    Begin(usize, bool),
    Deliver(usize, usize),
}

/// What each transaction touches, on both shards.
type Scopes = [Scope; TRANSACTIONS];

impl State {
    fn new() -> Self {
        Self {
            shards: Default::default(),
            stages: [const { Stage::NotBegun }; TRANSACTIONS],
            channels: Default::default(),
            in_force: Default::default(),
        }
    }

    fn number(transaction: usize) -> Number {
        Number::of(transaction as u64, Self::home(transaction) as u16)
    }

    fn home(transaction: usize) -> usize {
        [2, 1, 0][transaction]
    }

    fn steps(&self) -> Vec<Step> {
        let not_begun = |index: &usize| matches!(self.stages[*index], Stage::NotBegun);
        let begins = (0..TRANSACTIONS).filter(not_begun);
        let begins = begins.flat_map(|index| [false, true].map(|way| Step::Begin(index, way)));
        let pairs = (0..CORES).flat_map(|from| (0..CORES).map(move |to| (from, to)));
        let mail = pairs.filter(|&(from, to)| !self.channels[from][to].is_empty());
        begins.chain(mail.map(|(from, to)| Step::Deliver(from, to))).collect()
    }

    fn take(&mut self, step: Step, scopes: &Scopes) {
        match step {
            Step::Begin(index, entrusts) => {
                let home = Self::home(index);
                let scope = scopes[index].clone();
                let mut holding = Holding::new((0..SHARDS).map(|shard| ShardId(shard as u16)));
                let is_granted =
                    home < SHARDS && self.shards[home].schedule(Self::number(index), scope.clone());
                let entrusts = entrusts && is_granted && !scope.is_everything();
                let notification =
                    if entrusts { Notification::Entrust } else { Notification::Schedule };
                if entrusts {
                    holding.entrust();
                }
                self.stages[index] = Stage::Waiting(holding);
                for shard in (0..SHARDS).filter(|&shard| shard != home) {
                    self.channels[home][shard].push_back((index, notification));
                }
                self.tell_events(home, scopes);
            }
            Step::Deliver(from, to) => {
                let (index, notification) =
                    self.channels[from][to].pop_front().expect("there is mail");
                self.receive(from, to, index, notification, scopes);
            }
        }
    }

    fn receive(
        &mut self,
        from: usize,
        to: usize,
        index: usize,
        notification: Notification,
        scopes: &Scopes,
    ) {
        let number = Self::number(index);
        match notification {
            Notification::Schedule => _ = self.shards[to].schedule(number, scopes[index].clone()),
            Notification::Entrust => {
                let Scope::Keys(intents) = &scopes[index] else {
                    panic!("only keys are entrusted")
                };
                if self.shards[to].admits_as(number, intents) {
                    self.assert_alone(index, to, scopes);
                    self.assert_alone(index, from, scopes);
                    self.in_force[from][index] = true;
                    self.channels[to][from].push_back((index, Notification::Ran));
                } else {
                    self.channels[to][from].push_back((index, Notification::Waits));
                    self.shards[to].schedule(number, scopes[index].clone());
                }
            }
            Notification::Ran => {
                self.stages[index] = Stage::Over;
                self.in_force[to][index] = false;
                self.shards[to].release(number);
            }
            Notification::Waits => {
                let Stage::Waiting(holding) = &mut self.stages[index] else {
                    panic!("{index} waits after it was over")
                };
                if holding.is_not_decided_there(ShardId(to as u16)) {
                    self.shards[to].give_back(number);
                }
            }
            Notification::GiveBack => _ = self.shards[to].give_back(number),
            Notification::Release => {
                self.in_force[to][index] = false;
                self.shards[to].release(number);
            }
            Notification::Granted => {
                let Stage::Waiting(holding) = &mut self.stages[index] else {
                    panic!("{index} was granted something after it was over")
                };
                if holding.granted(ShardId(from as u16)) {
                    self.decide(index, scopes);
                }
            }
            Notification::Inquire => {
                if let Stage::Waiting(holding) = &mut self.stages[index]
                    && holding.inquired(ShardId(from as u16))
                {
                    match from == to {
                        true => _ = self.shards[to].give_back(number),
                        false => self.channels[to][from].push_back((index, Notification::GiveBack)),
                    }
                }
            }
        }
        self.tell_events(to, scopes);
    }

    fn tell_events(&mut self, to: usize, scopes: &Scopes) {
        while let Some(event) = self.shards.get_mut(to).and_then(Intents::next_event) {
            let (number, notification) = match event {
                Event::Granted(number) => (number, Notification::Granted),
                Event::Inquire(number) => (number, Notification::Inquire),
            };
            let is_it = |index: &usize| Self::number(*index) == number;
            let index = (0..TRANSACTIONS).find(is_it).expect("one of ours");
            if Self::home(index) == to {
                // What a core sends itself comes at once.
                self.receive(to, to, index, notification, scopes);
            } else {
                self.channels[to][Self::home(index)].push_back((index, notification));
            }
        }
    }

    /// All is granted: no conflicting transaction may be in force anywhere.
    fn decide(&mut self, index: usize, scopes: &Scopes) {
        self.stages[index] = Stage::Over;
        for shard in 0..SHARDS {
            self.assert_alone(index, shard, scopes);
            self.in_force[shard][index] = true;
        }
        for shard in (0..SHARDS).filter(|&shard| shard != Self::home(index)) {
            self.channels[Self::home(index)][shard].push_back((index, Notification::Release));
        }
        if Self::home(index) < SHARDS {
            self.receive(
                Self::home(index),
                Self::home(index),
                index,
                Notification::Release,
                scopes,
            );
        }
    }

    /// No conflicting transaction is in force on a shard.
    fn assert_alone(&self, index: usize, shard: usize, scopes: &Scopes) {
        for other in (0..TRANSACTIONS).filter(|&other| self.in_force[shard][other]) {
            assert!(
                !conflict(&scopes[index], &scopes[other]),
                "{index} and {other} are both in force on shard {shard}"
            );
        }
    }

    fn fingerprint(&self) -> String {
        let shards = self.shards.each_ref().map(Intents::fingerprint);
        format!("{shards:?} {:?} {:?} {:?}", self.stages, self.channels, self.in_force)
    }
}

/// Said anew here, and not asked of those who are tested.
fn conflict(one: &Scope, other: &Scope) -> bool {
    let writes = |scope: &Scope| match scope {
        Scope::Everything(mode) => *mode == Mode::Write,
        Scope::Keys(intents) => intents.iter().any(|intent| intent.mode == Mode::Write),
    };
    match (one, other) {
        (Scope::Keys(one), Scope::Keys(other)) => one.iter().any(|one| {
            let same = other.iter().filter(|other| other.hash == one.hash);
            same.into_iter().any(|other| one.mode == Mode::Write || other.mode == Mode::Write)
        }),
        _ => writes(one) || writes(other),
    }
}

/// Takes every step from every state that can be reached; gives how many states there are.
fn explore(scopes: &Scopes) -> usize {
    let mut seen = HashSet::new();
    let mut open = vec![State::new()];
    while let Some(state) = open.pop() {
        let steps = state.steps();
        if steps.is_empty() {
            let is_over = |stage: &Stage| matches!(stage, Stage::Over);
            assert!(
                state.stages.iter().all(is_over),
                "they wait for each other: {:?}",
                state.stages
            );
            assert!(state.shards.iter().all(Intents::is_empty), "something is left behind");
        }
        for step in steps {
            let mut next = state.clone();
            next.take(step, scopes);
            if seen.insert(next.fingerprint()) {
                open.push(next);
            }
        }
    }
    seen.len()
}

#[test]
fn no_order_of_delivery_breaks_isolation_or_stops() {
    let keys = |keys: &[(u64, Mode)]| {
        Scope::keys(keys.iter().map(|&(hash, mode)| Intent { hash, mode }).collect())
    };
    let choices = [
        keys(&[(1, Mode::Write)]),
        keys(&[(1, Mode::Read), (2, Mode::Write)]),
        keys(&[(2, Mode::Read)]),
        Scope::Everything(Mode::Write),
    ];
    let mut states = 0;
    for one in &choices {
        for two in &choices {
            for three in &choices {
                states += explore(&[one.clone(), two.clone(), three.clone()]);
            }
        }
    }
    assert!(states > 10_000, "only {states} states were reached");
}
