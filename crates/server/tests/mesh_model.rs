//! The mesh under a model checker: loom runs every order of its threads' steps and every value that
//! the memory model lets a load see.
//!
//! The mesh compiled here is the server's own file, with loom's atomics in place of the standard ones.

#[path = "../src/mesh.rs"]
#[expect(dead_code, reason = "the models use a part of the mesh")]
mod mesh;

mod sync {
    pub(crate) use loom::cell::UnsafeCell;
    pub(crate) use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};
    pub(crate) use std::sync::Arc;
}

use loom::sync::{Arc as LoomArc, Condvar, Mutex};
use loom::thread;
use mesh::Port;

/// Stands for the completion that wakes a sleeping shard.
struct Alarm {
    rung: Mutex<bool>,
    changed: Condvar,
}

impl Alarm {
    fn new() -> LoomArc<Self> {
        LoomArc::new(Self { rung: Mutex::new(false), changed: Condvar::new() })
    }
    fn ring(&self) {
        *self.rung.lock().expect("nobody panics with the lock") = true;
        self.changed.notify_one();
    }
    fn wait(&self) {
        let mut rung = self.rung.lock().expect("nobody panics with the lock");
        while !std::mem::take(&mut *rung) {
            rung = self.changed.wait(rung).expect("nobody panics with the lock");
        }
    }
}

/// Explores all interleavings with at most this many forced switches: the bugs known of such rings
/// need two.
const SWITCHES_MAX: usize = 4;

fn model(test: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(SWITCHES_MAX);
    builder.check(test);
}

fn pair(capacity: usize) -> (Port<Box<u32>>, Port<Box<u32>>) {
    let mut ports = mesh::ports(2, capacity).into_iter();
    (ports.next().expect("two ports"), ports.next().expect("two ports"))
}

#[test]
fn messages_arrive_once_and_in_order_through_a_full_ring() {
    model(|| {
        let (mut from, mut to) = pair(2);
        let writer = thread::spawn(move || {
            let mut next = 0;
            while next < 3 {
                if from.send(1, Box::new(next)).is_ok() {
                    next += 1;
                } else {
                    thread::yield_now();
                }
            }
        });
        let mut expected = 0;
        while expected < 3 {
            to.drain(|peer, message| {
                assert_eq!((peer, *message), (0, expected));
                expected += 1;
            });
            thread::yield_now();
        }
        writer.join().expect("the writer ends");
        assert!(to.is_empty());
    });
}

/// The reader sleeps whenever it may; a lost wake-up is a deadlock, which loom reports.
#[test]
fn a_sleeper_is_woken() {
    model(|| {
        let (mut from, mut to) = pair(4);
        let alarm = Alarm::new();
        let rings = LoomArc::clone(&alarm);
        let writer = thread::spawn(move || {
            for message in 0..2 {
                from.send(1, Box::new(message)).expect("the ring has room");
                from.sleepers(|_| rings.ring());
            }
        });
        let mut expected = 0;
        while expected < 2 {
            if to.prepare_sleep() {
                alarm.wait();
                to.end_sleep();
            }
            to.drain(|_, message| {
                assert_eq!(*message, expected);
                expected += 1;
            });
        }
        writer.join().expect("the writer ends");
    });
}

/// Two writers and one sleeper: one of them wakes it for both.
#[test]
fn a_sleeper_is_woken_by_one_of_two() {
    model(|| {
        let mut ports = mesh::ports::<u32>(3, 2).into_iter();
        let mut sleeper = ports.next().expect("three ports");
        let alarm = Alarm::new();
        let writers: Vec<_> = ports
            .map(|mut port| {
                let rings = LoomArc::clone(&alarm);
                thread::spawn(move || {
                    port.send(0, 7).expect("the ring has room");
                    port.sleepers(|peer| {
                        assert_eq!(peer, 0);
                        rings.ring();
                    });
                })
            })
            .collect();
        let mut arrived = 0;
        while arrived < 2 {
            if sleeper.prepare_sleep() {
                alarm.wait();
                sleeper.end_sleep();
            }
            sleeper.drain(|_, message| {
                assert_eq!(message, 7);
                arrived += 1;
            });
        }
        for writer in writers {
            writer.join().expect("the writers end");
        }
    });
}
