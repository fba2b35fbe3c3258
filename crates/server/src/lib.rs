//! Server: threads, sockets, files, clocks and signals around the engine.

mod mesh;
mod sync;
