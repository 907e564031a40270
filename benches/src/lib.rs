//! Benchmarks: what the product carries on one machine, measured from outside.
//!
//! ```text
//! Workload (seeded) ─► Request (encoded, compressed) ─► GrpcClient ═► Collector ─► Store     ingest
//!        └─ Order: its ids, what belongs to them ─────────────────► journey::find, query API  journeys
//! ```
//!
//! Owns: the load, the measuring, the tables. Does not own: anything that is measured; the server runs in the
//! same process with its default settings unless a benchmark says otherwise.
//!
//! Invariants: load comes from a seed; every run ends by itself; only 127.0.0.1 is used; a number of
//! ours is reported only after what was sent has been found again (of servers of others nobody asks).

pub mod client;
pub mod disk;
pub mod heap;
pub mod ingest;
pub mod journeys;
pub mod latency;
pub mod options;
pub mod peer;
pub mod request;
pub mod server;
pub mod statements;
pub mod workload;
